"""One function per stage of dvc.yaml: declared inputs and params.yaml in, declared outputs out, nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cliplit.config import Params, load_params
from cliplit.errors import UserError
from cliplit.files import read_json
from cliplit.lineage.mlflow_store import log
from cliplit.lineage.tracking import Tracker, track_stage

STAGES = ("curate", "start", "prompts", "enhancer", "select", "evaluate", "report")
_IN_ROUNDS = {"prompts", "enhancer"}
#: Kept with the stage's run, besides curves and pictures.
_KEPT = {"manifest.csv", "rejected.csv", "choice.json", "start.json", "per_photo.csv", "report.html"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def run_stage(name: str, round_name: str | None = None, project: Path = Path()) -> None:
    """Run a stage in ``project``; raises UserError for what a user can put right, and then leaves no new output.

    ``round_name`` is a key of params.yaml's rounds, or "0", for the stages prompts and enhancer, and None for others.
    """
    params = load_params(project / "params.yaml")
    _check(name, round_name, params)
    before = _snapshot(project, name, round_name)
    try:
        with track_stage(dvc_name(name, round_name), used_params(params, name, round_name), project) as tracker:
            _function(name)(params, round_name, project, tracker)
            _show(project, name, round_name, tracker)
    except BaseException as error:  # the tracker's own files may be what finds the disk full
        _remove_new(project, name, round_name, before)
        if _is_full(error):
            raise UserError(
                f"stage {name}: no space left on the disk; free some and run it again, it goes on where it was"
            ) from None
        raise


def dvc_name(name: str, round_name: str | None) -> str:
    """The stage's name in dvc.yaml: "curate", "enhancer-0", "enhancer@2"."""
    if round_name is None:
        return name
    return f"{name}-0" if round_name == "0" else f"{name}@{round_name}"


def outputs(name: str, round_name: str | None) -> list[Path]:
    """Files and folders that a stage writes, below the project."""
    folder = {"curate": "dataset", "start": "start", "select": "model", "evaluate": "evaluation", "report": "report"}
    metrics = {"curate": "dataset", "start": "start", "select": "select", "evaluate": "evaluation"}
    if name in _IN_ROUNDS:
        paths = [f"{name}/{round_name}", f"metrics/{name}_{round_name}.json", f"plots/{name}_{round_name}.csv"]
    else:
        paths = [folder[name], *([f"metrics/{metrics[name]}.json"] if name in metrics else [])]
    return [Path("artifacts") / path for path in paths]


def used_params(params: Params, name: str, round_name: str | None) -> dict[str, Any]:
    """The part of params.yaml that dvc.yaml declares for the stage."""
    whole = asdict(params)
    keys = {
        "curate": ("seed", "curate"),
        "start": ("guidance", "network"),
        "prompts": ("seed", "guidance", "training"),
        "enhancer": ("seed", "guidance", "network", "training"),
        "select": ("guidance", "rounds"),
        "evaluate": ("guidance",),
        "report": ("rounds",),
    }[name]
    used = {key: whole[key] for key in keys}
    if name == "start":
        used |= {key: value for key, value in whole["retrain"].items() if key.startswith("warm_start_")}
    if round_name == "0":
        used |= {key: whole[key] for key in (("prompts",) if name == "prompts" else ("warm_start", "enhancer"))}
    elif round_name is not None:
        used[name] = whole["rounds"][round_name][name]
        used["previous"] = whole["rounds"][round_name]["previous"]
    return used


def _check(name: str, round_name: str | None, params: Params) -> None:
    if name not in STAGES:
        raise UserError(f"stage '{name}' does not exist; the stages are {', '.join(STAGES)}")
    if name not in _IN_ROUNDS and round_name is not None:
        raise UserError(f"stage {name} has no rounds; leave --round out")
    if name in _IN_ROUNDS and round_name not in params.round_names:
        known = ", ".join(params.round_names)
        raise UserError(f"stage {name} needs --round, one of {known} (the key 'rounds' in params.yaml lists them)")


def _function(name: str) -> Callable[[Params, str | None, Path, Tracker], None]:
    """The stage's function; its module is imported only now, because torch and pandas take seconds."""
    if name in _IN_ROUNDS:
        run: Callable[..., None] = import_module(f"cliplit.training.{name}").run
        return run
    places = {"curate": "cliplit.photos.curate", "start": "cliplit.training.start"}
    module = places.get(name, f"cliplit.evaluation.{name}")
    plain: Callable[..., None] = import_module(module).run
    return lambda params, round_name, project, tracker: plain(params, project)


def _show(project: Path, name: str, round_name: str | None, tracker: Tracker) -> None:
    """Numbers, a picture and small files of a finished stage for whoever looks at its run."""
    written = [project / path for path in outputs(name, round_name)]
    for path in written:
        if path.suffix == ".json":
            found = read_json(path)
            tracker.results(found, headline=name == "evaluate")
            tracker.tags({key: value for key, value in found.items() if isinstance(value, str)})
    if not tracker.in_mlflow:
        return
    shown = [file for folder in written if folder.is_dir() for file in folder.iterdir() if file.name in _KEPT]
    for file in sorted(shown):
        tracker.file(file)
    try:
        picture = import_module("cliplit.evaluation.pictures").stage_picture(project, name, round_name)
    except Exception as error:  # a picture that cannot be drawn must not cost the stage
        log.warning("there is no picture of %s: %s", name, error)
        return
    if picture is not None:
        path = project / "work" / dvc_name(name, round_name).replace("@", "-") / "picture.jpg"
        picture.convert("RGB").save(path, quality=85)
        tracker.image(name, path)


def _snapshot(project: Path, name: str, round_name: str | None) -> dict[Path, tuple[int, int]]:
    """Every file that the stage's outputs hold, with what changes when it is written."""
    found: dict[Path, tuple[int, int]] = {}
    for path in outputs(name, round_name):
        whole = project / path
        for file in [whole, *whole.rglob("*")] if whole.is_dir() else [whole]:
            if file.is_file():
                stat = file.stat()
                found[file] = (stat.st_ino, stat.st_mtime_ns)
    return found


def _remove_new(project: Path, name: str, round_name: str | None, before: dict[Path, tuple[int, int]]) -> None:
    """Remove what a failed stage wrote; files from an earlier success stay."""
    for file, stamp in _snapshot(project, name, round_name).items():
        if before.get(file) != stamp:
            file.unlink(missing_ok=True)
    for path in outputs(name, round_name):
        whole = project / path
        folders = [whole, *(each for each in whole.rglob("*") if each.is_dir())] if whole.is_dir() else []
        for folder in sorted(folders, reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def _is_full(error: BaseException) -> bool:
    """Whether the disk is full; safetensors tells the number only in its text."""
    if isinstance(error, SafetensorError):
        return any(f"os error {number})" in str(error) for number in _FULL)
    return isinstance(error, OSError) and error.errno in _FULL
