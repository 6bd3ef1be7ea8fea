"""The metrics of a stage as JSON lines under work/: they are there without any tracker, and survive a kill."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from cliplit.files import write_text


class Point(NamedTuple):
    """One value of one curve; ``time`` in seconds since the epoch."""

    name: str
    value: float
    step: int
    time: float


class Journal:
    """work/<stage>/metrics.jsonl: a line that names the run, then a line for each call of ``append``.

    A stage that starts again with the same ``identity`` goes on with the old file. As soon as it logs a curve at
    step s, the old points of that curve from s on are dropped, so no step stands there twice.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._header: dict[str, Any] = json.loads(json.dumps({"run": identity}, sort_keys=True, default=str))
        self._old = self._read_old()
        self._seen: set[str] = set()
        self._rewrite(self._old)

    def append(self, values: dict[str, float], step: int) -> list[Point]:
        """Write one line; returns the points that are now part of the curves: the new ones and old ones kept."""
        points: list[Point] = []
        first = values.keys() - self._seen
        if first:
            points = self._take_over(first, step)
        now = round(time.time(), 3)
        self._file.write(json.dumps({"step": step, "time": now, "values": values}) + "\n")
        return points + [Point(name, value, step, now) for name, value in values.items()]

    def close(self) -> list[Point]:
        """Close the file; returns the old points of curves that this run did not touch."""
        self._file.close()
        rest = [name for line in self._old for name in line["values"] if name not in self._seen]
        return _points(self._old, set(rest))

    def _take_over(self, names: set[str], step: int) -> list[Point]:
        """Drop the old points of ``names`` from ``step`` on; returns those before it."""
        self._seen |= names
        stale = any(line["step"] >= step and names & line["values"].keys() for line in self._old)
        if stale:
            self._file.close()
            for line in self._old:
                if line["step"] >= step:
                    line["values"] = {name: value for name, value in line["values"].items() if name not in names}
            self._old = [line for line in self._old if line["values"]]
            self._rewrite(self._old + self._written())
        return _points(self._old, names)

    def _written(self) -> list[dict[str, Any]]:
        """The lines of this run so far; the old ones come first in the file."""
        lines = self._lines()
        return lines[self._old_count :]

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        self._old_count = len(self._old)
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in [self._header, *lines]))
        self._file: TextIO = self.path.open("a", encoding="utf-8", buffering=1)

    def _read_old(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            with self.path.open(encoding="utf-8") as file:
                same = json.loads(file.readline() or "null") == self._header
        except ValueError:
            return []
        return self._lines() if same else []

    def _lines(self) -> list[dict[str, Any]]:
        return _lines(self.path)


def read_points(path: Path) -> list[Point]:
    """Every point of a journal."""
    lines = _lines(path)
    return _points(lines, {name for line in lines for name in line["values"]})


def _lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines after the header; a line that a kill tore off is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _points(lines: list[dict[str, Any]], names: set[str]) -> list[Point]:
    return [
        Point(name, value, line["step"], line["time"])
        for line in lines
        for name, value in line["values"].items()
        if name in names
    ]
