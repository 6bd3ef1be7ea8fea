"""cliplit photos import: what comes in, what is set aside, and what a mistake looks like on the command line."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cliplit.errors import UserError
from cliplit.photos.codecs import save_jpeg
from cliplit.photos.importing import import_photos


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below ``folder``: its bytes and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cliplit(project: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cliplit", *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)


def add_pairs(root: Path, picture: Callable[..., np.ndarray]) -> Path:
    for k in range(2):
        save_jpeg(root / "backlit" / f"p{k}.jpg", picture(900 + k, 0.15))
        save_jpeg(root / "reference" / f"p{k}.jpg", picture(900 + k, 0.5))
    save_jpeg(root / "backlit" / "single.jpg", picture(910, 0.15))
    save_jpeg(root / "backlit" / "sizes.jpg", picture(911, 0.15))
    save_jpeg(root / "reference" / "sizes.jpg", picture(911, 0.5, (64, 64)))
    return root


def test_photos_and_pairs_come_in_and_again_changes_nothing(tmp_path: Path, folders, picture) -> None:
    project = tmp_path / "project"
    pairs = add_pairs(tmp_path / "pairs", picture)
    first = import_photos(folders["backlit"], folders["well_lit"], pairs, project)
    before = tree(project)
    names = {name for name in before if "/pairs/" in name}
    assert names == {f"data/photos/pairs/{side}/p{k}.jpg" for side in ("backlit", "reference") for k in (0, 1)}
    assert before["data/photos/backlit/b3.jpg"][0] == (folders["backlit"] / "b3.jpg").read_bytes()
    assert first.added == {"backlit": 10, "well_lit": 10, "pairs/backlit": 2, "pairs/reference": 2}
    assert {Path(name).name for _, name, _ in first.set_aside} == {"single.jpg", "sizes.jpg"}
    second = import_photos(folders["backlit"], folders["well_lit"], pairs, project)
    after = tree(project)
    assert not second.added and second.present["backlit"] == 10
    aside = "data/photos/set_aside.csv"
    assert {k: v for k, v in after.items() if k != aside} == {k: v for k, v in before.items() if k != aside}
    assert after[aside][0] == before[aside][0]


def test_without_pairs_the_folders_exist(tmp_path: Path, folders) -> None:
    import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p")
    assert list((tmp_path / "p/data/photos/pairs/backlit").iterdir()) == []
    assert list((tmp_path / "p/data/photos/pairs/reference").iterdir()) == []
    assert not (tmp_path / "p/data/photos/set_aside.csv").exists()


def test_bad_files_are_named_and_set_aside(tmp_path: Path, folders) -> None:
    folder = folders["backlit"]
    (folder / "text.jpg").write_text("milk, bread")
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes((folder / "b0.jpg").read_bytes()[:900])
    (folder / "notes.txt").write_text("hello")
    summary = import_photos(folder, folders["well_lit"], project=tmp_path / "p")
    with (tmp_path / "p/data/photos/set_aside.csv").open(newline="") as file:
        rows = {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(rows) == {"text.jpg", "zero.jpg", "cut.jpg", "notes.txt"}
    assert "not a photo" in rows["text.jpg"] and "empty" in rows["zero.jpg"] and "truncated" in rows["cut.jpg"]
    assert len(list((tmp_path / "p/data/photos/backlit").iterdir())) == 10
    assert "4 set aside" in summary.sentence()
    for name in rows:
        (folder / name).unlink()
    import_photos(folder, folders["well_lit"], project=tmp_path / "p")
    assert not (tmp_path / "p/data/photos/set_aside.csv").exists()


def test_equal_names_of_different_photos_are_kept_apart(tmp_path: Path, folders, picture) -> None:
    save_jpeg(folders["backlit"] / "more" / "b0.jpg", picture(77, 0.15))
    for _ in range(2):
        import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p")
        names = sorted(path.name for path in (tmp_path / "p/data/photos/backlit").glob("b0*"))
        assert len(names) == 2 and names[1] == "b0.jpg"
        assert names[0].startswith("b0-") and len(names[0]) == len("b0-0123456789.jpg")


def test_links_share_their_bytes(tmp_path: Path, folders) -> None:
    import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p", link=True)
    assert (tmp_path / "p/data/photos/backlit/b0.jpg").samefile(folders["backlit"] / "b0.jpg")


def test_a_photo_in_both_folders_is_set_aside(tmp_path: Path, folders) -> None:
    shutil.copy(folders["backlit"] / "b0.jpg", folders["well_lit"] / "same.jpg")
    summary = import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p")
    assert {Path(name).name for _, name, _ in summary.set_aside} == {"b0.jpg", "same.jpg"}
    assert not (tmp_path / "p/data/photos/well_lit/same.jpg").exists()


def test_demo_photos_give_way(tmp_path: Path, folders, picture) -> None:
    demo = tmp_path / "p/data/photos/backlit/demo_backlit_007.jpg"
    save_jpeg(demo, picture(1, 0.2))
    save_jpeg(folders["backlit"] / "demo_of_mine.jpg", picture(2222, 0.2))
    summary = import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p")
    assert not demo.exists() and demo.with_name("demo_of_mine.jpg").exists()
    assert "1 demo photos removed" in summary.sentence()


def test_full_disk_ends_in_a_sentence_and_leaves_nothing_half(tmp_path: Path, folders, monkeypatch) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match="b0.jpg: not imported, no space left"):
        import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "p")
    assert [path for path in (tmp_path / "p").rglob("*") if path.is_file()] == []


def test_mistakes_end_in_one_sentence_and_exit_code_2(tmp_path: Path, folders) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no photo")
    copied = tmp_path / "copied"
    shutil.copytree(folders["backlit"], copied)
    good = folders["backlit"]
    cases = {
        "no such folder": (tmp_path / "missing", folders["well_lit"]),
        "folder is empty": (tmp_path / "empty", folders["well_lit"]),
        "this is a file": (good / "b0.jpg", folders["well_lit"]),
        "two different folders": (good, good),
        "hold the same photos (10 of 10)": (good, copied),
        "holds no photo that can be used": (tmp_path / "bad", folders["well_lit"]),
    }
    project = tmp_path / "project"
    project.mkdir()
    for words, (backlit, well_lit) in cases.items():
        result = cliplit(project, "photos", "import", "--backlit", backlit, "--well-lit", well_lit)
        lines = [line for line in result.stderr.splitlines() if line.startswith("cliplit:")]
        assert result.returncode == 2, words
        assert len(lines) == 1 and words in lines[0]
        assert "Traceback" not in result.stderr
        assert not list(project.rglob("*.jpg"))


def test_the_command_says_what_it_did(tmp_path: Path, folders) -> None:
    (folders["backlit"] / "text.jpg").write_text("milk, bread")
    folder = tmp_path / "project"
    folder.mkdir()
    result = cliplit(folder, "photos", "import", "--backlit", folders["backlit"], "--well-lit", folders["well_lit"])
    assert result.returncode == 0
    assert "imported 10 backlit, 10 well_lit into data/photos; 1 set aside" in result.stdout
    assert "set aside:" in result.stderr and "text.jpg" in result.stderr
