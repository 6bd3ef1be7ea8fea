"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from cliplit.files import atomic_path, read_json, write_json, write_text


def test_a_failure_leaves_the_old_bytes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(OSError, match="full"), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_a_new_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_writer_that_removed_its_file_fails_without_touching_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), atomic_path(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "old"


def test_the_name_changes_only_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == path.parent and temporary.suffix == path.suffix and temporary.name.startswith(".")
    assert path.read_bytes() == b"new"


def test_others_can_read_what_was_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_a_very_long_name_still_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 240 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x"


def test_equal_values_give_equal_bytes_and_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": ["ä", 0.1]})
    write_json(tmp_path / "b.json", {"a": ["ä", 0.1], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": ["ä", 0.1], "b": 1}
