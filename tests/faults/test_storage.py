"""A disk that is full, for real: a file system of two megabytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cliplit.enhancer import SHIPPED
from cliplit.errors import UserError
from cliplit.training.checkpoint import Checkpoints


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; skipped where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here; it needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _fill(folder: Path, leave: int) -> None:
    """Take all space but ``leave`` bytes."""
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(b"\0" * max(0, free - leave))


def test_a_full_disk_costs_no_checkpoint(small_disk, note):
    checkpoints = Checkpoints(small_disk / "run" / "f")
    state = {"step": 1, "module": {"w": torch.ones(40_000)}, "curve": []}
    checkpoints.save(state)
    _fill(small_disk, 100_000)
    with pytest.raises(UserError, match="no space left on the disk; free some"):
        checkpoints.save(state | {"step": 2})
    assert checkpoints.latest()["step"] == 1
    assert not list((small_disk / "run" / "f").glob(".step-*"))
    (small_disk / "ballast").unlink()
    checkpoints.save(state | {"step": 2})
    assert checkpoints.latest()["step"] == 2
    note("the disk is full while a checkpoint is saved", "one sentence; the one before stays", "1 of 1, no rest left")


@pytest.mark.slow
def test_a_full_disk_costs_no_photo(small_disk, tmp_path, note):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 60, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    _fill(small_disk, 500_000)
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    done = subprocess.run(
        [sys.executable, "-m", "cliplit", "enhance", *names, "-o", str(small_disk / "out"), "--weights", str(SHIPPED)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr and "space" in done.stderr, done.stderr
    written = sorted((small_disk / "out").iterdir())
    for path in written:
        Image.open(path).load()
    whole = [path.name for path in written]
    assert 0 < len(whole) < 3 and all(not name.startswith(".") for name in whole)
    note(
        "the disk is full while photos are written",
        "one sentence, exit code not 0; what is there is whole",
        f"{len(whole)} of {len(whole)} files whole, {3 - len(whole)} named as not written",
    )
