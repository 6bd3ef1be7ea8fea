"""Films made for the tests: with sound, subtitles, chapters, uneven times, tags, and whatever a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cliplit.enhancer import Enhancer
from cliplit.photos.demo import render_photo

#: Milliseconds at which the frames of an uneven film are shown.
UNEVEN = (0, 40, 80, 160, 200, 360, 400, 433, 466, 700, 740, 780)
BASE = Fraction(1, 90000)
MakeFilm = Callable[..., Path]


@pytest.fixture(scope="session")
def enhancer(weights: Path) -> Enhancer:
    return Enhancer.load(weights, "cpu", denoise=False)


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """A backlit photo, 320 x 240."""
    return np.asarray(Image.fromarray(render_photo("backlit", 3, 1)).resize((320, 240)))


def tone(samples: int, start: int) -> av.AudioFrame:
    wave = 0.2 * np.sin((np.arange(samples) + start) * 0.05, dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
    return frame


def subtitle(container: av.container.OutputContainer, stream: av.stream.Stream, text: str, at: int) -> None:
    packet = av.Packet(text.encode())
    packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, Fraction(1, 1000), at, at, 200
    container.mux(packet)


@pytest.fixture
def make_film(tmp_path: Path, scene: np.ndarray) -> MakeFilm:
    def make(
        name: str = "film.mkv",
        size: tuple[int, int] = (160, 120),
        times: tuple[int, ...] = UNEVEN,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        sound: bool = True,
        tags: tuple[int, int, int, int] = (1, 1, 1, 1),
        pixels: Callable[[int], np.ndarray] | None = None,
    ) -> Path:
        path, (width, height) = tmp_path / name, size
        options = {"preset": "ultrafast", "crf": "12", "flags": "+frame_duration"} if codec.startswith("libx26") else {}
        with av.open(str(path), "w") as container:
            video = container.add_stream(codec, rate=25, options=options)
            video.width, video.height, video.pix_fmt = width, height, pixel_format
            video.time_base = video.codec_context.time_base = BASE
            context = video.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
            audio = None
            if sound:
                audio = container.add_stream("aac", rate=48000, layout="stereo")
                audio.metadata["language"] = "eng"  # QuickTime does not know all codes
                container.metadata["title"] = "Ein Film"
                container.set_chapters(
                    [
                        {
                            "id": 1,
                            "start": 0,
                            "end": 400,
                            "time_base": Fraction(1, 1000),
                            "metadata": {"title": "eins"},
                        },
                        {
                            "id": 2,
                            "start": 400,
                            "end": 800,
                            "time_base": Fraction(1, 1000),
                            "metadata": {"title": "zwei"},
                        },
                    ]
                )
            durations = [later - now for now, later in pairwise(times)] + [120]
            for index, (at, duration) in enumerate(zip(times, durations, strict=True)):
                image = pixels(index) if pixels else scene[index : index + height, index : index + width]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format=pixel_format,
                    dst_colorspace={1: "itu709", 9: "bt2020"}.get(tags[2], "itu601"),
                    dst_color_range=tags[3],
                )
                frame.pts, frame.time_base, frame.duration = at * 90, BASE, duration * 90
                container.mux(video.encode(frame))
            for start in range(0, 48000 * (times[-1] + 120) // 1000 if audio else 0, 1024):
                container.mux(audio.encode(tone(1024, start)))
            for stream in (video, audio) if audio else (video,):
                container.mux(stream.encode(None))
        return path

    return make


def frames_of(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """Time and bytes of each packet of the first stream of that kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        found = [packet for packet in container.demux(stream) if packet.size]
        return [(round(float(packet.pts * packet.time_base), 3), bytes(packet)) for packet in found]
