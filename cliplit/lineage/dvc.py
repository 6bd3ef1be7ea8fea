"""What DVC knows about this project: its stages, the bytes it recorded, and whether they are current.

Only dvc.yaml, dvc.lock and the command line are read: DVC's Python modules are no stable interface.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import yaml

from cliplit.errors import UserError
from cliplit.lineage.digests import path_md5

_PID = re.compile(r'"pid": (\d+)')
_INTERPOLATION = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, interpolation resolved; paths are POSIX and relative to the project."""

    name: str
    round: str | None
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]
    plots: tuple[str, ...]
    desc: str
    meta: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The stage without its round: "prompts" of "prompts-0" and of "prompts@2"."""
        return self.name if self.round is None else self.name.removesuffix(self.round)[:-1]

    @property
    def all_outs(self) -> tuple[str, ...]:
        """Every path the stage writes: outputs, metrics and plots."""
        return self.outs + self.metrics + self.plots


@dataclass(frozen=True)
class LockedOut:
    """One output as dvc.lock recorded it; the md5 of a folder ends in ".dir"."""

    path: str
    md5: str


def stages(project: Path) -> tuple[Stage, ...]:
    """All stages of ``project``/dvc.yaml in the order they stand there, ``foreach`` unrolled over params.yaml."""
    raw = _read_yaml(project / "dvc.yaml")
    params = _read_yaml(project / "params.yaml")
    found: list[Stage] = []
    for name, body in (raw.get("stages") or {}).items():
        if "foreach" not in body:
            number = re.fullmatch(r".+-(\d+)", name)
            found.append(_stage(name, number and number[1], body, params))
            continue
        for key, item in _foreach_items(body["foreach"], params):
            found.append(_stage(f"{name}@{key}", key, body["do"], {**params, "key": key, "item": item}))
    return tuple(found)


def stage(project: Path, name: str) -> Stage:
    """The stage called ``name``; raises UserError naming those there are."""
    found = stages(project)
    for candidate in found:
        if candidate.name == name:
            return candidate
    raise UserError(f"dvc.yaml: no stage is called '{name}'; use one of {', '.join(s.name for s in found)}")


def edges(found: Iterable[Stage]) -> set[tuple[str, str]]:
    """(upstream, downstream) names: as in DVC, a path depends on outputs that equal, hold or lie below it."""
    found = tuple(found)
    return {
        (up.name, down.name)
        for up in found
        for down in found
        if up is not down and any(_overlap(out, dep) for out in up.all_outs for dep in down.deps)
    }


def in_order(found: Iterable[Stage]) -> list[Stage]:
    """The stages so that each stands behind all it depends on, otherwise as they stood."""
    waiting, done = list(found), list[Stage]()
    drawn = edges(waiting)
    while waiting:
        names = {stage_.name for stage_ in waiting}
        ready = next((s for s in waiting if not any(up in names for up, down in drawn if down == s.name)), None)
        if ready is None:
            raise UserError(f"dvc.yaml: the stages {', '.join(sorted(names))} depend on each other in a circle")
        waiting.remove(ready)
        done.append(ready)
    return done


def raw_inputs(found: Iterable[Stage]) -> tuple[str, ...]:
    """Dependencies below data/: what people bring, no stage makes."""
    return tuple(sorted({dep for stage_ in found for dep in stage_.deps if PurePosixPath(dep).parts[0] == "data"}))


def code_inputs(stage_: Stage, found: Iterable[Stage]) -> tuple[str, ...]:
    """Dependencies of ``stage_`` that are code: neither raw data nor made by a stage."""
    made = [out for other in found for out in other.all_outs]
    raw = set(raw_inputs([stage_]))
    return tuple(dep for dep in stage_.deps if dep not in raw and not any(_overlap(out, dep) for out in made))


def param_values(project: Path, stage_: Stage) -> dict[str, Any]:
    """The parameters that ``stage_`` declares, with their values in params.yaml."""
    params = _read_yaml(project / "params.yaml")
    return {key: _lookup(params, key) for key in stage_.params}


def locked_outs(project: Path, name: str) -> tuple[LockedOut, ...]:
    """The outputs of a stage as dvc.lock records them; empty when the stage never ran."""
    lock = project / "dvc.lock"
    entry = (_read_yaml(lock).get("stages") or {}).get(name) if lock.exists() else None
    outs = (entry or {}).get("outs") or []
    return tuple(LockedOut(out["path"], out["md5"]) for out in outs if "md5" in out)


def outputs_md5(project: Path, name: str) -> str | None:
    """The md5 that stands for a stage's result everywhere: Dagster's data version, MLflow's tag ``dvc.md5``.

    It is the md5 of the stage's one output in dvc.lock (metrics and plots follow from it); of several outputs, their
    md5s joined by "+". None when the stage never ran.
    """
    wanted = set(stage(project, name).outs)
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
    folders = [folder for folder in raw_inputs(stages(project)) if (project / folder).is_dir()]
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


def _stage(name: str, round_name: str | None, body: Mapping[str, Any], scope: Mapping[str, Any]) -> Stage:
    body = _resolve(body, scope)
    return Stage(
        name=name,
        round=round_name,
        cmd=body["cmd"],
        deps=_paths(body.get("deps")),
        params=_paths(body.get("params")),
        outs=_paths(body.get("outs")),
        metrics=_paths(body.get("metrics")),
        plots=_paths(body.get("plots")),
        desc=body.get("desc", ""),
        meta=body.get("meta") or {},
    )


def _foreach_items(foreach: Any, params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    items = _resolve(foreach, params)
    if isinstance(items, Mapping):
        yield from ((str(key), item) for key, item in items.items())
    else:
        yield from ((str(item), item) for item in items)


def _resolve(value: Any, scope: Mapping[str, Any]) -> Any:
    """``value`` with every ${dotted.name} replaced from ``scope``; a lone ${name} keeps its type."""
    if isinstance(value, Mapping):
        return {_resolve(key, scope): _resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, scope) for item in value]
    if not isinstance(value, str):
        return value
    whole = _INTERPOLATION.fullmatch(value)
    if whole:
        return _lookup(scope, whole[1])
    return _INTERPOLATION.sub(lambda match: str(_lookup(scope, match[1])), value)


def _lookup(scope: Mapping[str, Any], dotted: str) -> Any:
    value: Any = scope
    for part in dotted.strip().split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UserError(f"dvc.yaml: it needs the key '{dotted}', which params.yaml does not have; add it there")
        value = value[part]
    return value


def _paths(entries: Any) -> tuple[str, ...]:
    """Names in a list of dvc.yaml whose items are names, or one-key mappings from a name to options."""
    return tuple(next(iter(entry)) if isinstance(entry, Mapping) else str(entry) for entry in entries or [])


def _overlap(first: str, second: str) -> bool:
    one, two = PurePosixPath(first), PurePosixPath(second)
    return one == two or one in two.parents or two in one.parents


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name}: there is no such file in {path.parent}; run this in a cliplit project") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); fix that line") from None
    return raw or {}
