"""Checkpoints that survive kill -9: safetensors with a JSON beside it that says what they must hold.

A checkpoint counts only when its JSON exists and names the sha256 of its safetensors file; the newest that counts
wins. Both files are written atomically, the JSON last, and a new checkpoint never touches the one before it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from cliplit.errors import UserError
from cliplit.files import atomic_path, read_json, write_text

_KEPT = 2
_KEPT_RUNS = 3
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run in ``folder``; a state is nested dicts of tensors and JSON values with a "step"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for torn in folder.glob(".step-*"):
            torn.unlink(missing_ok=True)  # a kill in the middle of a write leaves these
        forget_old_runs(folder)

    def save(self, state: dict[str, Any]) -> None:
        """Store ``state``; raises UserError when the disk is full, with the previous checkpoint intact."""
        tensors: dict[str, torch.Tensor] = {}
        values = _take_tensors(state, "", tensors)
        data = save(tensors)
        stem = self.folder / f"step-{int(state['step']):08d}"
        try:
            with atomic_path(stem.with_suffix(".safetensors")) as temporary:
                temporary.write_bytes(data)
            record = {"sha256": hashlib.sha256(data).hexdigest(), "state": values}
            write_text(stem.with_suffix(".json"), json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UserError(
                f"{stem.with_suffix('.safetensors')}: no space left on the disk; free some and run the stage again, "
                "it goes on from the checkpoint before"
            ) from None
        for old in sorted(self.folder.glob("step-*.json"))[:-_KEPT]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that counts, its tensors on the CPU; None when there is none."""
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            try:
                record = read_json(path)
                data = path.with_suffix(".safetensors").read_bytes()
                if record["sha256"] == hashlib.sha256(data).hexdigest():
                    state: dict[str, Any] = _put_tensors(record["state"], "", load(data))
                    return state
                reason = "its bytes are not what was written"
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = type(error).__name__
            log.warning("%s is damaged (%s); going on from the checkpoint before it", path.name, reason)
        return None


def fingerprint(settings: dict[str, Any], inputs: Iterable[Path], project: Path) -> str:
    """A hash of all that determines a run: ``settings``, the bytes below ``inputs``, this code and torch's version."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(torch.__version__.encode())
    package = Path(__file__).parent.parent
    for root, paths in ((project, inputs), (package, _code(package))):
        for path in paths:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    digest.update(file.relative_to(root).as_posix().encode())
                    digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def forget_old_runs(folder: Path) -> None:
    """Remove the oldest siblings of ``folder``, so that work/ does not grow with every change of a parameter."""
    runs = sorted((path for path in folder.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in runs[:-_KEPT_RUNS]:
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


def adam_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What Adam remembers of each parameter, by the parameter's number."""
    return {str(number): dict(memory) for number, memory in optimizer.state_dict()["state"].items()}


def load_adam(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Mirror of adam_state; the step size stays what ``optimizer`` was made with."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(
        {"state": {int(number): memory for number, memory in state.items()}, "param_groups": groups}
    )


def _code(package: Path) -> list[Path]:
    folders = ("guidance", "networks", "photos", "training")
    return [file for folder in folders for file in sorted((package / folder).glob("*.py"))]


def _take_tensors(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """``value`` without its tensors, which go to ``tensors`` under the path that leads to them."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {key: _take_tensors(item, f"{name}/{key}", tensors) for key, item in value.items()}
    return value


def _put_tensors(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if value == {"tensor": name}:
        return tensors[name]
    if isinstance(value, dict):
        return {key: _put_tensors(item, f"{name}/{key}", tensors) for key, item in value.items()}
    return value
