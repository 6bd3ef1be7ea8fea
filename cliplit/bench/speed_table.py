"""The figures of ``cliplit bench speed`` as a table or as JSON, with the machine that they hold for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from cliplit.bench.speed import Figure, machine

_WHOLE = 100  # from here on decimals say nothing


def markdown(figures: Sequence[Figure]) -> str:
    """A line a figure, and below it the machine."""
    lines = ["| what | figure | target | kept |", "| --- | --- | --- | --- |"]
    for each in figures:
        bound = "" if each.target is None else f"{'at most' if each.most else 'at least'} {each.target:g}"
        kept = {None: "", True: "yes", False: "no"}[each.met]
        lines.append(f"| {each.name} | {_number(each.value)} {each.unit} | {bound} | {kept} |")
    held = ", ".join(f"{name} {value}" for name, value in machine().items() if value is not None)
    return "\n".join([*lines, "", f"Machine: {held}."])


def as_json(figures: Sequence[Figure]) -> str:
    """{"machine": {...}, "figures": [{"name", "value", "unit", "target", "most", "met"}, ...]}."""
    content = {"machine": machine(), "figures": [{**asdict(each), "met": each.met} for each in figures]}
    return json.dumps(content, indent=2)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE else f"{value:.3g}"
