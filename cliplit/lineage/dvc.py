"""What DVC knows of this project's bytes: what dvc.lock records, whether it is current, and DVC's command line.

Only dvc.lock and the command line are read: DVC's Python modules are no stable interface.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cliplit.lineage import graph
from cliplit.lineage.digests import path_md5
from cliplit.lineage.graph import read_yaml

_PID = re.compile(r'"pid": (\d+)')


@dataclass(frozen=True)
class LockedOut:
    """One output as dvc.lock recorded it; the md5 of a folder ends in ".dir"."""

    path: str
    md5: str


def locked_outs(project: Path, name: str) -> tuple[LockedOut, ...]:
    """The outputs of a stage as dvc.lock records them; empty when the stage never ran."""
    lock = project / "dvc.lock"
    entry = (read_yaml(lock).get("stages") or {}).get(name) if lock.exists() else None
    outs = (entry or {}).get("outs") or []
    return tuple(LockedOut(out["path"], out["md5"]) for out in outs if "md5" in out)


def outputs_md5(project: Path, name: str) -> str | None:
    """The md5 that stands for a stage's result everywhere: Dagster's data version, MLflow's tag ``dvc.md5``.

    It is the md5 of the stage's one output in dvc.lock (metrics and plots follow from it); of several outputs, their
    md5s joined by "+". None when the stage never ran.
    """
    wanted = set(graph.stage(project, name).outs)
    return "+".join(out.md5 for out in locked_outs(project, name) if out.path in wanted) or None


def verify_bytes(project: Path, name: str) -> list[str]:
    """Re-hash what a stage wrote against dvc.lock; one sentence for each difference, none when all is well.

    DVC itself trusts the files in its cache and the times of those outside: a flipped bit goes unnoticed there.
    """
    recorded = locked_outs(project, name)
    if not recorded:
        return [f"dvc.lock: stage '{name}' never ran here; materialize it first"]
    faults = []
    for out in recorded:
        found = path_md5(project / out.path) if (project / out.path).exists() else None
        if found is None:
            faults.append(f"{out.path}: it is missing; materialize {name} again")
        elif found != out.md5:
            cached = f".dvc/cache/files/md5/{out.md5[:2]}/{out.md5[2:]}"
            faults.append(
                f"{out.path}: its bytes have md5 {found}, dvc.lock says {out.md5}; "
                f"delete it and {cached}, then materialize {name} again"
            )
    return faults


def is_current(project: Path, name: str) -> bool:
    """Whether `dvc status` finds the stage's recorded inputs and outputs unchanged.

    False also when DVC cannot say, because another stage is running: then `dvc repro` decides, in its turn.
    """
    return not status(project, name)


def status(project: Path, name: str) -> dict[str, Any]:
    """What `dvc status --json` reports about a stage; empty means current."""
    done = run_dvc(project, "status", "--json", name)
    if done.returncode != 0:
        return {name: [{"unknown": dvc_error(done.stderr)}]}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def track_photos(project: Path) -> str:
    """Snapshot data/photos/* in DVC, so that a model can name the photos it learned from; returns what was done."""
    folders = [folder for folder in graph.raw_inputs(graph.stages(project)) if (project / folder).is_dir()]
    if not (project / ".dvc").is_dir():
        return "The photos are not versioned: this folder is no DVC repository (`git init && dvc init` makes it one)."
    if not folders:
        return "There are no photos to version yet."
    done = run_dvc(project, "add", "-q", *folders)
    if done.returncode != 0:
        return f"The photos are not versioned: {dvc_error(done.stderr)}"
    return f"Versioned {', '.join(folders)} in DVC; commit {', '.join(f'{folder}.dvc' for folder in folders)} to git."


def forget_dead(project: Path) -> None:
    """Drop the locks of a DVC that was killed: DVC itself calls their paths busy for ever.

    They are dropped only when every process that they name is gone; DVC's error message advises the same by hand.
    """
    path = project / ".dvc" / "tmp" / "rwlock"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if held and not any(_is_dvc(int(number)) for number in _PID.findall(json.dumps(held))):
        path.unlink(missing_ok=True)


def run_dvc(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC by this interpreter in ``project`` and capture what it prints."""
    return subprocess.run(
        dvc_command(*arguments), cwd=project, env=dvc_environment(), capture_output=True, text=True, check=False
    )


def dvc_command(*arguments: str) -> list[str]:
    """The command line of DVC under this interpreter."""
    return [sys.executable, "-m", "dvc", *arguments]


def dvc_environment() -> dict[str, str]:
    """This environment with the interpreter's folder first in PATH, so that `python` in a stage is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def dvc_error(output: str) -> str:
    """The last error that DVC printed, without its prefix."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["DVC gave no reason"])[-1]


def _is_dvc(pid: int) -> bool:
    """Whether this process runs and is a DVC: numbers are given out again."""
    try:
        return any("dvc" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
