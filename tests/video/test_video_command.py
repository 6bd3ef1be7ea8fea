"""cliplit video as it is typed: hostile films, Ctrl-C, and raw frames through a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import MakeFilm
from PIL import Image

from cliplit.cli import cliplit
from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.networks import build_network, save_network
from cliplit.video.steady import Steadier


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cliplit, ["video", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """What the command says of bad input: one sentence, as a UserError."""
    done = invoke(*arguments)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_the_command_relights_and_tells(tmp_path: Path, make_film: MakeFilm, weights: Path) -> None:
    film, target = make_film("ein 'Film' ä.mp4"), tmp_path / "relit film.mkv"
    done = invoke(film, "-o", target, "--model", weights, "--json", "--crf", 28)
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.stdout)
    assert told["frames"] == 12 and told["flicker"] <= 1.1 and told["fps"] > 0
    assert "exists already" in refused(film, "-o", target, "--model", weights)
    assert "is the film itself" in refused(film, "-o", film, "--model", weights, "--overwrite")
    again = invoke(film, "-o", target, "--model", weights, "--overwrite", "--max-seconds", 0.2)
    assert again.exit_code == 0 and "4 frames relit" in again.stdout


def test_the_command_of_the_docs_writes_film_and_preview(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_film("holiday.mp4")
    done = invoke("holiday.mp4", "-o", "relit.mp4", "--preview", "now.png")
    assert done.exit_code == 0, (done.output, done.exception)
    assert Image.open("now.png").size == (320, 120)
    assert Path("relit.mp4").is_file()


def test_hostile_films_end_in_one_sentence_and_leave_nothing(
    tmp_path: Path, make_film: MakeFilm, weights: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    whole = make_film("whole.mp4", times=tuple(range(0, 2000, 40))).read_bytes()
    boxes = {
        "empty.mp4": b"",
        "noise.mp4": np.random.default_rng(0).bytes(40_000),
        "half.mp4": whole[: len(whole) // 2],
    }
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/whole.mp4\n#EXT-X-ENDLIST\n".encode()
    boxes |= {"list.mp4": playlist, "script.mkv": b"ffconcat version 1.0\nfile whole.mp4\n"}
    for name, data in boxes.items():
        (films / name).write_bytes(data)
    Image.new("RGB", (64, 64)).save(films / "photo.jpg")
    for name in (*boxes, "photo.jpg", "none.mp4"):
        said = refused(films / name, "-o", films / "relit.mp4", "--model", weights)
        assert name in said
        assert not (films / "relit.mp4").exists()
    assert sorted(path.name for path in films.iterdir()) == sorted([*boxes, "photo.jpg"])
    assert "this is not a file" in refused(films, "-o", tmp_path / "relit.mp4", "--model", weights)


def test_a_film_whose_end_is_missing_is_not_passed_off_as_whole(
    tmp_path: Path, make_film: MakeFilm, weights: Path
) -> None:
    """With its index at the front, half a film decodes without any error up to where it breaks off."""
    whole = make_film("whole.mp4", times=tuple(range(0, 2000, 40)), sound=False)
    front = tmp_path / "front.mp4"
    assert invoke(whole, "-o", front, "--model", weights, "--strength", 0).exit_code == 0
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 2 // 3])
    said = refused(front, "-o", tmp_path / "relit.mp4", "--model", weights)
    assert "front.mp4" in said and ("ends before" in said or "truncated" in said)
    assert not (tmp_path / "relit.mp4").exists()


def test_wrong_wishes_are_said(tmp_path: Path, make_film: MakeFilm, weights: Path) -> None:
    film = make_film(sound=False, times=(0, 40))
    assert ".mp4" in refused(film, "-o", tmp_path / "relit.avi", "--model", weights)
    assert "--size" in refused("-", "-o", "-", "--model", weights)
    assert "both" in refused("-", "-o", tmp_path / "relit.mp4", "--model", weights)
    assert "PNG" in refused(film, "-o", tmp_path / "relit.mp4", "--model", weights, "--preview", tmp_path / "a.jpg")
    config = NetworkConfig("unet", 20.0)
    save_network(build_network(config), config, tmp_path / "unet.safetensors")
    assert "fast network" in refused(film, "-o", tmp_path / "relit.mp4", "--model", tmp_path / "unet.safetensors")
    assert invoke("-", "-o", "-", "--size", "640").exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, make_film: MakeFilm, weights: Path, number: int) -> None:
    film = make_film("long.mp4", (256, 192), tuple(range(0, 240_000, 40)), sound=False, pixels=moving)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "cliplit", "video", str(film), "-o", str(out / "relit.mp4")]
    with subprocess.Popen([*command, "--model", str(weights)], stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: any(path.stat().st_size > 2000 for path in out.iterdir()))
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert "Traceback" not in said
    assert list(out.iterdir()) == []


def moving(index: int) -> np.ndarray:
    return np.roll(np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8), index, axis=1)


def wait_for(ready: object, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)


@contextmanager
def pipe(weights: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cliplit", "video", "-", "-o", "-", "--size", "64x48", "--model", str(weights)]
    with subprocess.Popen(
        [*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def small_frames(count: int) -> list[np.ndarray]:
    torch.manual_seed(0)
    rng = np.random.default_rng(2)
    still = np.linspace(10, 90, 48 * 64 * 3).reshape(48, 64, 3)
    return [(still + rng.normal(0, 2, still.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("order", ["rgb24", "bgr24"])
def test_each_frame_comes_back_before_the_next_is_sent(weights: Path, order: str) -> None:
    enhancer, steadier = Enhancer.load(weights, "cpu", denoise=False), Steadier()
    channels = slice(None) if order == "rgb24" else slice(None, None, -1)
    with pipe(weights, "--format", order, "--fps", "25") as process:
        assert process.stdin and process.stdout and process.stderr
        for index, frame in enumerate(small_frames(5)):
            process.stdin.write(np.ascontiguousarray(frame[..., channels]).tobytes())
            process.stdin.flush()
            data = process.stdout.read(frame.size)  # would wait for ever if frames were held back
            grid = steadier(enhancer.predict(frame), frame, index / 25)
            relit = np.frombuffer(data, np.uint8).reshape(frame.shape)[..., channels]
            assert np.abs(relit.astype(int) - enhancer.apply(frame, grid)).max() <= 1
            assert relit.mean() > frame.mean() + 8
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        assert b"5 frames relit" in process.stderr.read()


def test_a_pipe_ends_cleanly_where_its_reader_goes_or_its_writer_stops_inside_a_frame(weights: Path) -> None:
    (frame,) = small_frames(1)
    with pipe(weights) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(frame.tobytes())
        process.stdin.flush()
        process.stdout.read(frame.size)
        process.stdout.close()
        process.stdin.write(frame.tobytes())
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        assert b"Traceback" not in process.stderr.read()
    with pipe(weights) as process:
        out, said = process.communicate(frame.tobytes() + b"\0" * 100, timeout=60)
        assert process.returncode == 2 and len(out) == frame.size
        assert b"100 of 9216 bytes" in said and b"Traceback" not in said and said.count(b"\n") == 1


@pytest.mark.slow
def test_the_bench_measures_speed_and_steadiness(weights: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cliplit", "bench", "video", "--size", "320x180", "--frames", "20", "--runs", "1"]
        + ["--model", str(weights), "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    told = json.loads(done.stdout)
    assert told["fps"] > 0 and told["frames"] == 20
    assert {row["clip"] for row in told["steadiness"]} == {"pan", "slides, noise", "slides, noise and wobble"}
