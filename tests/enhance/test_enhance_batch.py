"""cliplit enhance on many photos: pipes, patterns, resuming, threads, JSON, previews, and being stopped."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cliplit.commands.enhance import printable
from cliplit.commands.planning import PIPE, Job, plan
from cliplit.errors import UserError


@pytest.fixture
def folder(tmp_path, dark, monkeypatch):
    """Four photos: in/a.png, in/b.jpg, in/deep/c.png and in/x [1].png; the current folder is above."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg", "deep/c.png", "x [1].png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(dark, len(name), axis=1)).save(path)
    return tmp_path


@pytest.fixture
def run(folder, weights):
    """Run the command as people do, in a process of its own; gives what subprocess gives, in bytes."""

    def call(*arguments, model=weights, **options):
        command = [sys.executable, "-m", "cliplit", "enhance", *map(str, arguments), "--device", "cpu"]
        command += ["--model", str(model)] if model else []
        return subprocess.run(command, cwd=folder, capture_output=True, **options)

    return call


def outputs(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pipes_and_files_give_the_same_photo(run, folder):
    done = run("-", "-o", "-", input=(folder / "in/b.jpg").read_bytes())
    assert done.returncode == 0 and b"1 photo relit into -" in done.stderr
    assert Image.open(io.BytesIO(done.stdout)).format == "JPEG"
    assert run("in/b.jpg", "-o", "to/better.png", "--quality", "50").returncode == 0
    assert run("in/b.jpg", "-o", "-").stdout == done.stdout
    from_file = np.asarray(Image.open(folder / "to/better.png")).astype(int)
    piped = np.asarray(Image.open(io.BytesIO(done.stdout))).astype(int)
    assert np.abs(from_file - piped).mean() < 3, "the ending decides the format, the pixels are the same"
    small = run("-", "-o", "-", "--quality", "20", input=(folder / "in/b.jpg").read_bytes())
    assert len(small.stdout) < len(done.stdout) / 2


@pytest.mark.parametrize(("data", "reason"), [(b"", "0 bytes"), (b"no photo", "not relit")])
def test_what_is_no_photo_in_a_pipe_is_one_sentence_and_nothing_comes_out(run, data, reason):
    done = run("-", "-o", "-", input=data)
    assert done.returncode == 2 and done.stdout == b""
    assert reason in done.stderr.decode() and b"Traceback" not in done.stderr


def test_threads_change_no_byte_and_the_table_names_every_failure(run, folder):
    (folder / "in/line\nbreak\x1b[2J.jpg").write_bytes(b"no photo")
    (folder / "in/loop.jpg").symlink_to(folder / "in/loop.jpg")
    for jobs in (1, 3):
        done = run("in", "in/loop.jpg", "-o", f"out{jobs}", "--jobs", jobs)
        assert done.returncode == 1
        assert done.stdout.decode() == f"4 photos relit into out{jobs}\n"
        lines = done.stderr.decode().splitlines()
        assert lines[0] == "2 not relit:" and len(lines) == 3
        assert "line\\nbreak\\x1b[2J.jpg" in done.stderr.decode()
    assert outputs(folder / "out1") == outputs(folder / "out3")
    assert sorted(outputs(folder / "out1")) == ["a.png", "b.jpg", "deep/c.png", "x [1].png"]


def test_resume_skips_what_is_there_and_loads_no_model_for_nothing(run, folder):
    (folder / "out").mkdir()
    (folder / "out/a.png").write_bytes(b"done before")
    done = run("in", "-o", "out", "--resume")
    assert done.returncode == 0
    assert done.stdout.decode() == "3 photos relit into out, 1 photo done before\n"
    assert (folder / "out/a.png").read_bytes() == b"done before"
    before = outputs(folder / "out")
    done = run("in", "-o", "out", "--resume", model="absent.safetensors")
    assert done.returncode == 0 and done.stdout.decode() == "4 photos done before\n"
    assert outputs(folder / "out") == before
    done = run("in", "-o", "out", "--resume", "--overwrite")
    assert done.returncode == 2 and b"give one of them" in done.stderr


def test_json_says_what_came_of_each_photo(run, folder):
    (folder / "in/bad.jpg").write_bytes(b"no photo")
    (folder / "out").mkdir()
    (folder / "out/a.png").write_bytes(b"done before")
    done = run("in", "-o", "out", "--json", "--resume", "--no-recursive")
    assert done.returncode == 1
    *photos, summary = [json.loads(line) for line in done.stdout.decode().splitlines()]
    found = {Path(photo["photo"]).name: photo for photo in photos}
    assert {name: photo["status"] for name, photo in found.items()} == {
        "a.png": "skipped",
        "b.jpg": "relit",
        "bad.jpg": "failed",
        "x [1].png": "relit",
    }
    relit = found["b.jpg"]
    assert (relit["output"], relit["width"], relit["height"]) == ("out/b.jpg", 120, 90)
    assert relit["seconds"] > 0 and relit["reason"] is None
    assert found["bad.jpg"]["output"] is None and len(found["bad.jpg"]["reason"]) > 10
    assert {name: summary["summary"][name] for name in ("relit", "skipped", "failed")} == {
        "relit": 2,
        "skipped": 1,
        "failed": 1,
    }


def test_preview_shows_before_and_after_and_replaces_nothing(run, folder):
    assert run("in/a.png", "-o", "out", "--preview").returncode == 0
    with Image.open(folder / "out/a.png.preview.png") as image:
        halves = np.asarray(image).astype(float)
        assert image.size == (240, 90)
    with Image.open(folder / "in/a.png") as image:
        assert np.array_equal(halves[:, :120], np.asarray(image))
    assert halves[:, 120:].mean() > halves[:, :120].mean() + 10
    (folder / "out/a.png").unlink()
    done = run("in/a.png", "-o", "out", "--preview")
    assert done.returncode == 2 and b"a.png.preview.png exists" in done.stderr


def test_larger_photos_than_allowed_are_refused(run):
    done = run("in/a.png", "-o", "out", "--max-pixels", "10799")
    assert done.returncode == 2 and b"allowed" in done.stderr
    assert run("in/a.png", "-o", "out", "--max-pixels", "0.0108MP").returncode == 0, "120 x 90 px are just allowed"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["in/a.png", "-o", "out", "--max-pixels", "many"], "no number of pixels"),
        (["in/a.png", "-o", "out", "--strength", "3"], "--strength"),
        (["in/a.png", "-o", "-", "--json"], "name a file"),
        (["in/a.png", "in/b.jpg", "-o", "-"], "takes one photo"),
        (["in", "-o", "all.jpg"], "takes one photo"),
        (["-", "-o", "out"], "has no name"),
        (["in/a.png", "-o", "out", "--model", "x@nothing"], "x@nothing"),
        (["none*.jpg", "-o", "out"], "there is no such file"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_exit_code_2(run, folder, arguments, sentence):
    done = run(*arguments, model=None)
    assert done.returncode == 2 and sentence in done.stderr.decode()
    assert b"Traceback" not in done.stderr and done.stdout == b""
    assert not (folder / "out").exists() and not (folder / "all.jpg").exists()


def test_patterns_stand_for_photos_and_literal_names_win(folder):
    (folder / "in/notes.txt").write_text("no photo", encoding="utf-8")
    jobs, failures = plan(["in/*"], "out")
    assert [job.source.name for job in jobs] == ["a.png", "b.jpg", "x [1].png"] and failures == []
    jobs, _ = plan(["in/**/*.png"], "out")
    assert [job.source.name for job in jobs] == ["a.png", "c.png", "x [1].png"]
    jobs, _ = plan(["in/x [1].png"], "out")
    assert jobs == [Job(Path("in/x [1].png"), Path("out/x [1].png"))]


def test_what_the_output_is(folder):
    photo = "in/a.png"
    for output, target in (
        ("out", "out/a.png"),
        ("o.d/", "o.d/a.png"),
        ("new.tif", "new.tif"),
        ("in/deep", "in/deep/a.png"),
    ):
        (job,), _ = plan([photo], output)
        assert job.target == Path(target)
    (job,), _ = plan(["-"], "x.jpg")
    assert job == Job(PIPE, Path("x.jpg"))
    (folder / "dir.png").mkdir()
    (job,), _ = plan([photo], "dir.png")
    assert job.target == Path("dir.png/a.png")
    (folder / "in/raw.DNG").touch()
    (job,), _ = plan(["in/raw.DNG"], "out")
    assert job.target == Path("out/raw.tif")
    with pytest.raises(UserError, match="replace the photo itself"):
        plan([photo], "in")


def test_names_that_no_terminal_takes_are_escaped():
    assert printable("a b é ü 日.jpg") == "a b é ü 日.jpg"
    assert printable(os.fsdecode(b"x\n\xff\x1b[0m")) == "x\\n\\udcff\\x1b[0m"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_whole_files_and_resume_goes_on(folder, dark, weights):
    big = np.tile(dark, (9, 9, 1))
    for index in range(40):
        Image.fromarray(np.roll(big, index, axis=0)).save(folder / "in" / f"p{index:02}.png")
    command = [
        sys.executable,
        "-m",
        "cliplit",
        "enhance",
        "in",
        "-o",
        "out",
        "--device",
        "cpu",
        "--model",
        str(weights),
    ]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not list(folder.glob("out/p*.png")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume goes on" in err and b"Traceback" not in err
    done = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    assert 0 < len(done) < 44
    assert [path.name for path in done if path.name.startswith(".")] == []
    for path in done:
        with Image.open(path) as image:
            image.load()
    first = {path: path.stat().st_mtime_ns for path in done}
    again = subprocess.run([*command, "--resume"], cwd=folder, capture_output=True)
    assert again.returncode == 0 and f"{len(done)} photos done before" in again.stdout.decode().replace(
        "photo ", "photos "
    )
    assert {path: path.stat().st_mtime_ns for path in done} == first
    assert len(list((folder / "out").rglob("*.*"))) == 44


def test_progress_shows_rate_and_time_left_on_a_terminal_only(folder, weights):
    import pty
    import termios

    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    command = [
        sys.executable,
        "-m",
        "cliplit",
        "enhance",
        "in",
        "-o",
        "out",
        "--device",
        "cpu",
        "--model",
        str(weights),
    ]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(leader)
    assert done.returncode == 0
    assert b"4/4" in shown and b"photo/s" in shown and b"<00:00" in shown
