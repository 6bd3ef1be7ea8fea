"""Bad input ends in one sentence that names the file or key and the fix, exit code 2, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_project import Project, one_sentence

Folder = Callable[..., Path]


def huge_png(path: Path, width: int = 20_000, height: int = 12_000) -> None:
    """240 megapixels in some 30 kB: one bit a pixel, all of them zero."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((1 + width // 8) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def _imported(project: Project, backlit: Path, well_lit: Path) -> str:
    return project.refused("photos", "import", "--backlit", str(backlit), "--well-lit", str(well_lit))


def test_an_empty_folder(project: Project, folder: Folder) -> None:
    sentence = _imported(project, folder("empty", 0, 0), folder("well", 8, 140))
    assert sentence.endswith("empty: the folder is empty; put photos into it or name another one")


def test_no_photos_at_all_at_training(project: Project) -> None:
    sentence = project.refused_outside("pipelines.train")
    assert sentence.startswith("data/photos/backlit: there is no such folder; run `cliplit photos import` or ")


def test_one_photo_only(project: Project, folder: Folder) -> None:
    backlit, well_lit = folder("one", 1, 40), folder("well", 8, 140)
    for source, role in ((backlit, "backlit"), (well_lit, "well_lit")):
        shutil.copytree(source, project.path / "data" / "photos" / role)
    (project.path / "data/photos/pairs").mkdir()
    sentence = project.refused("stage", "curate")
    assert sentence.startswith("data/photos/backlit: 1 of its 1 photos can be used, at least 6 are needed; add photos")


def test_the_same_photos_in_both_roles(project: Project, folder: Folder) -> None:
    backlit = folder("backlit", 8, 60)
    shutil.copytree(backlit, backlit.parent / "again")
    sentence = _imported(project, backlit, backlit.parent / "again")
    assert "hold the same photos (8 of 8); put each photo into the one folder where it belongs" in sentence


def test_a_text_file_named_jpg(project: Project, folder: Folder, tmp_path: Path) -> None:
    (folder("text", 0, 0) / "note.jpg").write_text("no photo at all")
    sentence = _imported(project, tmp_path / "text", folder("well", 8, 140))
    assert sentence.endswith("text: holds no photo that can be used; data/photos/set_aside.csv says why for each")
    assert (
        "this is not a photo in a format that cliplit reads" in (project.path / "data/photos/set_aside.csv").read_text()
    )


def test_bad_files_among_good_ones_are_named_and_the_rest_comes_in(project: Project, folder: Folder) -> None:
    backlit, well_lit = folder("backlit", 8, 50), folder("well", 8, 140)
    (backlit / "note.jpg").write_text("no photo at all")
    (backlit / "torn.jpg").write_bytes((backlit / "0.jpg").read_bytes()[:400])
    huge_png(backlit / "huge.png")
    done = subprocess.run(
        [sys.executable, "-m", "cliplit", *f"photos import --backlit {backlit} --well-lit {well_lit}".split()],
        cwd=project.path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr
    for name in ("note.jpg", "torn.jpg", "huge.png"):
        assert f"set aside: {backlit / name}: " in done.stderr
    assert "3 set aside" in done.stdout
    assert len(list((project.path / "data/photos/backlit").iterdir())) == 8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("note.jpg", "not a photo"),
        ("torn.jpg", "truncated"),
        ("huge.png", "megapixel"),
        ("empty.jpg", "empty"),
        ("gone.jpg", "no such file"),
    ],
)
def test_a_photo_that_cannot_be_relit(project: Project, folder: Folder, weights: Path, name: str, said: str) -> None:
    photos = folder("photos", 1, 60)
    photo = photos / name
    if name == "huge.png":
        huge_png(photo)
        assert photo.stat().st_size < 60_000
    elif name != "gone.jpg":
        whole = (photos / "0.jpg").read_bytes()
        photo.write_bytes({"note.jpg": b"no photo", "torn.jpg": whole[: len(whole) // 2], "empty.jpg": b""}[name])
    started = time.monotonic()
    done = project.run("cliplit", "enhance", str(photo), "-o", "out", "--weights", str(weights))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert name in done.stderr and said in done.stderr
    assert not list((project.path / "out").rglob("*.*")) and time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("learning_rate: 0.001", "learning_rat: 0.001", "unknown key 'warm_start.learning_rat'; did you mean"),
        ("learning_rate: 0.001", "learning_rate: -0.1", "'warm_start.learning_rate' is -0.1"),
        ("seed: 0", "seed: [", "params.yaml: not readable as YAML"),
        ("seed: 0", "seed: many", "key 'seed' is 'many'"),
        ('previous: "0"', 'previous: "7"', "key 'rounds.1.previous' is '7', but no round of that name"),
    ],
)
def test_params_that_make_no_sense(with_photos: Project, before: str, after: str, said: str) -> None:
    path = with_photos.path / "params.yaml"
    path.write_text(path.read_text().replace(before, after, 1))
    for command in (["pipelines.train"], ["cliplit", "stage", "curate"]):
        sentence = with_photos.refused_outside(*command)
        assert sentence.startswith("params.yaml: ") or "/params.yaml: " in sentence
        assert said in sentence


@pytest.mark.slow
def test_missing_clip_weights_without_network_end_soon(curated: Project, tmp_path: Path) -> None:
    path = curated.path / "params.yaml"
    path.write_text(path.read_text().replace("preset: lumiclip", "preset: paper"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"  # nobody listens there
        started = time.monotonic()
        sentence = curated.refused_outside(
            *("cliplit", "stage", "prompts", "--round", "0"),
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), proxy),
            **{"NO_PROXY": "", "no_proxy": "", "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path / "home")},
        )
    assert time.monotonic() - started < 45
    assert sentence.startswith("params.yaml: key 'guidance.prompt_model.weights': 'openai' could not be downloaded; ")
    assert "local file" in sentence and "lumiclip" in sentence


def _small_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes that one file may have; then EFBIG


@pytest.mark.parametrize("stage", [["curate"], ["prompts", "--round", "0"]])
def test_a_full_disk_in_a_stage(curated: Project, stage: list[str]) -> None:
    before = curated.files()
    done = curated.run("cliplit", "stage", *stage, preexec_fn=_small_disk)
    assert done.returncode == 2, done.stderr
    sentence = one_sentence(done.stderr)
    assert "no space left on the disk; free some and run it again" in sentence
    assert curated.files() == before


def test_a_full_disk_while_a_photo_is_saved(project: Project, folder: Folder, weights: Path) -> None:
    photo = folder("photos", 1, 60) / "0.jpg"
    assert photo.stat().st_size > 1000
    done = project.run(
        *("cliplit", "enhance", str(photo), "-o", "out", "--weights", str(weights)), preexec_fn=_small_disk
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "no space left" in done.stderr and not list((project.path / "out").glob("*"))


def test_a_full_disk_while_photos_come_in(project: Project, folder: Folder) -> None:
    backlit, well_lit = folder("backlit", 8, 50), folder("well", 8, 140)
    command = f"photos import --backlit {backlit} --well-lit {well_lit}".split()
    done = project.run("cliplit", *command, preexec_fn=_small_disk)
    assert done.returncode == 2, done.stderr
    assert "no space left on the disk; free some and import again" in one_sentence(done.stderr)
    assert not [file for file in (project.path / "data").rglob("*") if file.is_file()]


def test_a_pair_of_two_shapes_is_left_out_by_name(with_photos: Project, folder: Folder) -> None:
    pairs = with_photos.path / "data/photos/pairs"
    odd = folder("odd", 1, 90) / "0.jpg"
    shutil.copyfile(odd, pairs / "backlit" / "odd.jpg")
    shutil.copyfile(next((pairs / "reference").glob("demo_*")), pairs / "reference" / "odd.jpg")
    done = with_photos.run("cliplit", "stage", "curate")
    assert done.returncode == 0, done.stderr
    rejected = (with_photos.path / "artifacts/dataset/rejected.csv").read_text()
    assert "pairs/backlit/odd.jpg" in rejected and "pairs/reference/odd.jpg" in rejected
    from cliplit.evaluation.heldout import pair_paths

    assert [name for name, _, _ in pair_paths(with_photos.path)] == ["demo_pair_000.jpg"]


@pytest.mark.skipif(os.environ.get("USER") == "nobody", reason="nothing can be written")
def test_a_project_folder_without_anything(tmp_path: Path, project: Project) -> None:
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    project.path = empty
    for command in (["pipelines.train"], ["cliplit", "stage", "curate"], ["cliplit", "models", "promote"]):
        assert "params.yaml" in project.refused_outside(*command)
    assert "dvc.yaml" in project.refused_outside("pipelines.ui")
