"""kill -9 at every boundary: of a checkpoint, of curate, of a promotion, of a rollback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cliplit.lineage import registry

HERE = Path(__file__).parent


def _run(script: str, folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / script), str(folder), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not found["faults"], found["faults"][0]
    assert found["held"] == found["kills"]
    return found


@pytest.mark.slow
def test_training_killed_at_every_file_boundary_resumes_bit_equal(tmp_path, note):
    found = _run("kill_training.py", tmp_path)
    assert found["kills"] > 50
    note(
        "kill -9 of training before every file operation of its checkpoints, and in the middle of their writes",
        "resumed, it ends in the same bits",
        f"{found['held']} of {found['kills']} bit-equal",
    )


@pytest.mark.slow
def test_curate_killed_at_every_file_boundary_leaves_no_half_dataset(tmp_path, note):
    found = _run("kill_curate.py", tmp_path)
    assert found["kills"] > 60
    note(
        "kill -9 of curate before every file operation",
        "the dataset is the old one, none or the new one; run again, the new one",
        f"{found['held']} of {found['kills']}",
    )


@pytest.mark.slow
@pytest.mark.parametrize("act", ["promotion", "rollback"])
def test_promotion_killed_at_every_step_leaves_old_or_new(project, tmp_path, note, act):
    for seed in (0, 1):
        project.trained(seed, 0.5 + seed / 10)
        registry.register_challenger(project.path)
        if seed == 0 or act == "rollback":
            registry.promote(project.path, lambda challenge: [])
    found = _run("kill_promotion.py", tmp_path, act)
    assert found["kills"] > 10
    note(
        f"kill -9 of a {act} before every call of MLflow and every file operation",
        "what serves is the old or the new version, whole; the next to come completes it",
        f"{found['held']} of {found['kills']}",
    )
