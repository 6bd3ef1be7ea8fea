"""The graph as dvc.yaml writes it: stages, what they read and write, and the edges that follow.

dvc.yaml and params.yaml are read as text; DVC's Python modules are no stable interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cliplit.errors import UserError

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


def stages(project: Path) -> tuple[Stage, ...]:
    """All stages of ``project``/dvc.yaml in the order they stand there, ``foreach`` unrolled over params.yaml."""
    raw = read_yaml(project / "dvc.yaml")
    params = read_yaml(project / "params.yaml")
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
    """Dependencies below data/photos: what people bring, no stage makes."""
    photos = PurePosixPath("data/photos")
    return tuple(sorted({dep for stage_ in found for dep in stage_.deps if photos in PurePosixPath(dep).parents}))


def code_inputs(stage_: Stage, found: Iterable[Stage]) -> tuple[str, ...]:
    """Dependencies of ``stage_`` that are code: neither data nor made by a stage."""
    made = [out for other in found for out in other.all_outs]
    code = [dep for dep in stage_.deps if PurePosixPath(dep).parts[0] != "data"]
    return tuple(dep for dep in code if not any(_overlap(out, dep) for out in made))


def param_values(project: Path, stage_: Stage) -> dict[str, Any]:
    """The parameters that ``stage_`` declares, with their values in params.yaml."""
    params = read_yaml(project / "params.yaml")
    return {key: _lookup(params, key) for key in stage_.params}


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


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name}: there is no such file in {path.parent}; run this in a cliplit project") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); fix that line") from None
    return raw or {}
