"""A film comes out relit, and everything else about it as it was."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import UNEVEN, MakeFilm, frames_of, packets_of
from PIL import Image

from cliplit.enhancer import Enhancer
from cliplit.video.reading import open_film
from cliplit.video.relight import Settings, relight_film
from cliplit.video.writing import ENCODERS, pick_encoder


def milliseconds(path: Path) -> list[int]:
    return [round(1000 * frame.time) for frame in frames_of(path)]


@pytest.mark.parametrize("source", ["film.mkv", "film.mp4"])
@pytest.mark.parametrize("target", ["relit.mkv", "relit.mp4", "relit.mov"])
def test_times_sound_chapters_words_and_colour_tags_stay(
    tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer, source: str, target: str
) -> None:
    film, relit = make_film(source), tmp_path / target
    summary = relight_film(film, relit, enhancer, Settings())
    assert summary.frames == len(UNEVEN) and summary.notes == [] and summary.damaged == 0
    assert milliseconds(film) == list(UNEVEN)
    late = milliseconds(relit)[0]  # Matroska has no times below 0, where AAC in MP4 begins: all of it moves by 21 ms
    assert 0 <= late <= 22 and [at - late for at in milliseconds(relit)] == pytest.approx(UNEVEN, abs=1)
    before = packets_of(film, "audio")
    after = [(at - late / 1000, data) for at, data in packets_of(relit, "audio")]
    assert [data for _, data in before] == [data for _, data in after]
    assert [at for at, _ in after] == pytest.approx([at for at, _ in before], abs=0.002)
    with av.open(str(film)) as one, av.open(str(relit)) as other:
        assert other.metadata.get("title", other.metadata.get("TITLE")) == "Ein Film"
        assert [chapter["metadata"]["title"] for chapter in other.chapters()] == ["eins", "zwei"]
        assert other.streams.audio[0].language == "eng"
        for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
            contexts = (container.streams.video[0].codec_context for container in (one, other))
            assert len({getattr(context, name) for context in contexts}) == 1, name
        assert other.duration == pytest.approx(one.duration, abs=60_000)  # µs
    lights = [np.mean([frame.to_ndarray(format="rgb24").mean() for frame in frames_of(path)]) for path in (film, relit)]
    assert lights[1] > lights[0] + 8


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 1), (5, 6, 5, 2), (2, 2, 2, 1), (1, 13, 1, 2)])
def test_with_strength_0_colours_come_back_in_every_matrix_and_range(
    tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer, tags: tuple[int, int, int, int]
) -> None:
    """A wrong matrix or range would move these patches by 5 to 20 levels."""
    colours = np.array([[200, 60, 60], [60, 180, 70], [50, 60, 200], [128, 128, 128], [16, 16, 16], [240, 240, 240]])
    patches = np.repeat(np.repeat(colours[None].astype(np.uint8), 96, 0), 32, 1)
    film = make_film("film.mp4", (192, 96), (0, 40, 80), tags=tags, sound=False, pixels=lambda _: patches)
    relight_film(film, tmp_path / "same.mp4", enhancer, Settings(strength=0, crf=4))
    one, other = frames_of(film)[1], frames_of(tmp_path / "same.mp4")[1]
    assert (one.colorspace, one.color_range, one.color_trc) == (other.colorspace, other.color_range, other.color_trc)
    for plane in range(3):
        planes = [frame.to_ndarray().astype(int) for frame in (one, other)]
        difference = np.abs(planes[0] - planes[1])
        assert np.median(difference) <= 1 and np.percentile(difference, 90) <= 2, plane


def test_a_film_of_ten_bits_stays_one(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    film = make_film("film.mp4", pixel_format="yuv420p10le", codec="libx265", times=(0, 40, 80), tags=(9, 14, 9, 1))
    summary = relight_film(film, tmp_path / "relit.mp4", enhancer, Settings())
    assert summary.pixel_format == "yuv420p10le"
    frame = frames_of(tmp_path / "relit.mp4")[0]
    assert frame.format.name == "yuv420p10le" and (frame.color_primaries, frame.color_trc, frame.colorspace) == (
        9,
        14,
        9,
    )
    levels = frame.to_ndarray()[: frame.height]
    assert len(np.unique(levels % 4)) == 4  # more than 8 bits are in use


@pytest.mark.parametrize(("angle", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_a_turned_film_comes_out_upright(
    tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer, angle: int, turns: int
) -> None:
    """Phones write how to turn the picture into the film's header; what they mean is what is relit."""
    film = make_film("film.mp4", times=(0, 40, 80), sound=False)
    turn_header(film, angle)
    assert abs(frames_of(film)[0].rotation) in (angle, 360 - angle)
    relight_film(film, tmp_path / "relit.mp4", enhancer, Settings(strength=0, crf=4))
    coded, upright = frames_of(film)[1], frames_of(tmp_path / "relit.mp4")[1]
    assert upright.rotation == 0
    expected = np.rot90(coded.to_ndarray(format="rgb24"), turns)
    shown = upright.to_ndarray(format="rgb24")
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 3


def turn_header(path: Path, angle: int) -> None:
    """Let the film be shown turned clockwise by ``angle``: the matrix in the track's header."""
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[angle]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = struct.pack(">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    data[start : start + 36] = matrix
    path.write_bytes(data)


def test_odd_sides_are_continued_by_a_pixel(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    film = make_film("odd.mkv", (161, 121), (0, 40), codec="ffv1", pixel_format="yuv444p", sound=False)
    summary = relight_film(film, tmp_path / "relit.mp4", enhancer, Settings())
    assert (summary.width, summary.height) == (162, 122)
    shown = frames_of(tmp_path / "relit.mp4")[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(shown[:, 160] - shown[:, 161]).mean() < 4


def test_subtitles_are_copied_or_their_loss_refused(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    film = with_subtitles(make_film("plain.mkv"), tmp_path / "titled.mkv")
    relight_film(film, tmp_path / "relit.mkv", enhancer, Settings())
    assert packets_of(tmp_path / "relit.mkv", "subtitle") == packets_of(film, "subtitle")
    assert [text for _, text in packets_of(film, "subtitle")] == [b"Guten Tag", b"Ende"]
    with pytest.raises(Exception, match=r"subtitles \((subrip|srt)\).*\.mkv"):
        relight_film(film, tmp_path / "relit.mp4", enhancer, Settings())
    assert not (tmp_path / "relit.mp4").exists()


def with_subtitles(film: Path, path: Path) -> Path:
    """``film`` with two subtitles: a text file beside it, remuxed."""
    text = path.with_suffix(".srt")
    lines = ["1", "00:00:00,080 --> 00:00:00,300", "Guten Tag", "", "2", "00:00:00,500 --> 00:00:00,700", "Ende", ""]
    text.write_text("\n".join(lines), encoding="utf-8")
    with av.open(str(film)) as one, av.open(str(text)) as other, av.open(str(path), "w") as container:
        for source in (one, other):
            copies = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
            source_copies = copies
            if source is one:
                of_film = source_copies
        for source, copies in ((one, of_film), (other, source_copies)):
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    container.mux(packet)
    return path


def test_only_the_beginning(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    relight_film(make_film(), tmp_path / "relit.mp4", enhancer, Settings(max_seconds=0.4))
    assert milliseconds(tmp_path / "relit.mp4") == [at for at in UNEVEN if at < 400]
    assert max(at for at, _ in packets_of(tmp_path / "relit.mp4", "audio")) < 0.45


def test_the_preview_shows_before_and_after(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    relight_film(make_film(), tmp_path / "relit.mp4", enhancer, Settings(preview=tmp_path / "now.png"))
    shown = np.asarray(Image.open(tmp_path / "now.png")).astype(float)
    assert shown.shape == (120, 320, 3)
    assert shown[:, 160:].mean() > shown[:, :160].mean() + 8


def test_webm_and_films_without_sound(tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer) -> None:
    summary = relight_film(make_film(sound=False), tmp_path / "relit.webm", enhancer, Settings())
    assert summary.codec in ("libsvtav1", "libvpx-vp9")
    assert milliseconds(tmp_path / "relit.webm") == list(UNEVEN)


def test_without_gpl_encoders_another_is_taken(
    tmp_path: Path, make_film: MakeFilm, enhancer: Enhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cliplit.video import writing

    there = writing.has
    monkeypatch.setattr(writing, "has", lambda name: name not in ("libx264", "libx265") and there(name))
    encoder = pick_encoder(8, "mp4", tmp_path)
    assert encoder in ENCODERS[8] and encoder.name not in ("libx264", "libx265")
    summary = relight_film(make_film("film.mkv"), tmp_path / "relit.mp4", enhancer, Settings())
    assert summary.codec == encoder.name and len(frames_of(tmp_path / "relit.mp4")) == len(UNEVEN)


def test_a_film_knows_how_many_frames_it_has(make_film: MakeFilm) -> None:
    with open_film(make_film("film.mp4")) as film:
        assert film.frames == len(UNEVEN)
        assert (film.width, film.height, film.bits) == (160, 120, 8)
