"""Sharing a project: its bytes by DVC's remote, and what names them by git.

``publish`` puts the photos, every stage's outputs and the champion into the remote, then commits the few lines that
name them, so that a commit never names bytes that nobody else can get. ``published_champion`` is the other end: the
champion in a clone that has git and the remote, and no registry.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from cliplit.errors import UserError
from cliplit.lineage import digests, dvc, registry
from cliplit.lineage.graph import read_yaml

PUBLISHED = "published"  # a folder that DVC tracks: a copy of the reigning model, for clones without the registry
_POINTER = f"{PUBLISHED}.dvc"
_CACHE = Path(".dvc") / "cache" / "files" / "md5"


@dataclass(frozen=True)
class Published:
    """What a publication did; ``commit`` is None where git had all of it already."""

    commit: str | None
    files: tuple[str, ...]  # in the commit
    dvc_said: str
    git_remote: str | None  # that the commit was pushed to


def publish(project: Path, dvc_remote: str | None = None, git_remote: str | None = None) -> Published:
    """Push bytes to DVC's remote (None: the default one), commit what names them, push that to ``git_remote`` if any.

    Raises UserError, with nothing committed, when a stage runs, when git's index or a tracked file holds other changes,
    when bytes are damaged, or when a remote cannot be used. Can be repeated after every failure.
    """
    if not (project / "dvc.lock").is_file():
        raise UserError("dvc.lock: there is none, so there is nothing to publish; run `dvc repro` first")
    lock = project / "work" / "runner.lock"
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            _refuse_other_changes(project)
            _keep_champion(project)
            for fault in damaged_objects(project):
                raise UserError(fault)
            done = dvc.run_dvc(project, "push", *(["--remote", dvc_remote] if dvc_remote else []))
            if done.returncode != 0:
                raise UserError(f"dvc push: {dvc.dvc_error(done.stdout + done.stderr)}")
            files = _named_by_git(project)
            commit = _commit(project, files)
            if git_remote:
                _git(project, "push", "--quiet", git_remote, "HEAD")
    except Timeout:
        raise UserError("a stage of this project runs; publish when it has ended") from None
    said = (done.stdout.strip().splitlines() or ["nothing to push"])[-1]
    return Published(commit, files if commit else (), said, git_remote or None)


def published_champion(project: Path = Path()) -> Path | None:
    """The weights of the champion that came with the project's commit, its bytes checked; None where none came."""
    pointer, folder = project / _POINTER, project / PUBLISHED
    if not pointer.is_file():
        return None
    if not folder.is_dir():
        raise UserError(f"{folder}: the published champion is not here yet; run `dvc pull {_POINTER}`")
    recorded = read_yaml(pointer)["outs"][0]["md5"]
    if digests.path_md5(folder) != recorded:
        raise UserError(f"{folder}: its bytes are not those of {_POINTER}; delete it and run `dvc pull {_POINTER}`")
    return folder / registry.WEIGHTS


def damaged_objects(project: Path) -> Iterator[str]:
    """One sentence for each file of DVC's cache that is not what its name says; DVC itself pushes it unread."""
    for md5 in sorted(_tracked_md5s(project)):
        path = project / _CACHE / md5[:2] / md5[2:]
        if path.is_file() and digests.file_md5(path) != md5.removesuffix(".dir"):
            yield f"{path}: its bytes are not those that its name says; delete it and materialize its stage again"


def _tracked_md5s(project: Path) -> set[str]:
    """Every object that dvc.lock and the pointers name, files inside of folders included."""
    stages = (read_yaml(project / "dvc.lock").get("stages") or {}).values()
    rows = [row for stage in stages for row in stage.get("outs") or []]
    rows += [row for pointer in _pointers(project) for row in read_yaml(project / pointer).get("outs") or []]
    found = {str(row["md5"]) for row in rows if "md5" in row}
    for md5 in [md5 for md5 in found if md5.endswith(".dir")]:
        listing = project / _CACHE / md5[:2] / md5[2:]
        try:
            found |= {entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}
        except (OSError, ValueError):
            continue  # absent ones are DVC's to say; a damaged one is found by its own md5
    return found


def _keep_champion(project: Path) -> None:
    """Let DVC track a copy of the reigning model, which may be older than the one that was trained last."""
    weights = registry.champion_file(project)
    if weights is None:
        return
    folder = project / PUBLISHED
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(weights.parent, folder)
    done = dvc.run_dvc(project, "add", "-q", PUBLISHED)
    if done.returncode != 0:
        raise UserError(f"dvc add {PUBLISHED}: {dvc.dvc_error(done.stdout + done.stderr)}")


def _pointers(project: Path) -> list[str]:
    found = [path.relative_to(project).as_posix() for path in sorted((project / "data" / "photos").glob("*.dvc"))]
    return found + ([_POINTER] if (project / _POINTER).is_file() else [])


def _named_by_git(project: Path) -> tuple[str, ...]:
    return ("dvc.lock", *_pointers(project))


def _refuse_other_changes(project: Path) -> None:
    """A commit of this program must hold nothing of somebody's unfinished work, nor go without what it rests on."""
    own = {*_named_by_git(project), _POINTER}
    staged = set(_names(_git(project, "diff", "--cached", "--name-only", "--relative", "-z"))) - own
    if staged:
        raise UserError(f"git's index holds other changes ({_some(staged)}); commit or unstage them first")
    changed = set(_names(_git(project, "diff", "--name-only", "--relative", "-z"))) - own
    if changed:
        raise UserError(
            f"tracked files have changes that are not committed ({_some(changed)}); commit or restore them first, "
            "so that dvc.lock goes with the code and parameters that made it"
        )


def _commit(project: Path, files: tuple[str, ...]) -> str | None:
    """Commit exactly ``files``; the new commit's hash, or None when they are as git has them."""
    _git(project, "add", "--", *files)
    if not _names(_git(project, "diff", "--cached", "--name-only", "--relative", "-z")):
        return None
    stage = dvc.outputs_md5(project, registry.MODEL_STAGE)
    subject = f"Publish photos and model {stage[:8]}" if stage else "Publish photos"
    _git(project, "commit", "--quiet", "-m", subject, "--", *files)
    return _git(project, "rev-parse", "HEAD").strip()


def _git(project: Path, *arguments: str) -> str:
    """What git prints; raises UserError with git's own first complaint."""
    try:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("git: there is no such program; install it") from None
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:", "!"))] or lines or ["no reason given"]
        raise UserError(f"git {arguments[0]}: {told[0].removeprefix('fatal: ').removeprefix('error: ')}")
    return done.stdout


def _names(listed: str) -> list[str]:
    return [name for name in listed.split("\0") if name]


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
