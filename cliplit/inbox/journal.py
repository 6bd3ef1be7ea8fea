"""data/ingested.jsonl: what came in through the inbox, when, from where, and why it went where it went.

A line is written before anything is done, and a closing line when a batch is whole. After a kill the lines behind the
last closing one say what was under way, so that the next batch completes and reports it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

JOURNAL = Path("data/ingested.jsonl")
ADDED, DUPLICATE, REVIEW = "added", "duplicate", "review"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: ``outcome`` is added, duplicate or review; ``to`` where its copy lies in the project."""

    source: str
    sha256: str
    outcome: str
    why: str
    role: str | None = None
    to: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Batch:
    """One closed batch: its number, what it did, and the DVC md5 of each photo folder after it."""

    number: int
    outcomes: tuple[Outcome, ...]
    versions: dict[str, str]

    @property
    def added(self) -> tuple[Outcome, ...]:
        """The photos that came in."""
        return tuple(outcome for outcome in self.outcomes if outcome.outcome == ADDED)


class Journal:
    """The journal of ``project``; a line that a kill tore is left out."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._path = project / JOURNAL

    def note(self, outcome: Outcome) -> None:
        """Write down what is about to be done."""
        self._append({"event": "photo", **asdict(outcome)})

    def under_way(self) -> dict[tuple[str, str], Outcome]:
        """What was written down since the last batch was closed, by source and content."""
        found: dict[tuple[str, str], Outcome] = {}
        for line in self._lines():
            if line["event"] == "batch":
                found.clear()
            else:
                found[(line["source"], line["sha256"])] = _outcome(line)
        return found

    def close(self, versions: dict[str, str]) -> Batch:
        """Close the batch under way; photos whose copy never came about are no part of it."""
        outcomes = [one for one in self.under_way().values() if one.to is None or (self._project / one.to).is_file()]
        number = 1 + sum(line["event"] == "batch" for line in self._lines())
        self._append({"event": "batch", "number": number, "versions": versions, "photos": len(outcomes)})
        return Batch(number, tuple(outcomes), versions)

    def added(self) -> dict[str, Outcome]:
        """Every photo that came in and is still there, by content."""
        found = [_outcome(line) for line in self._lines() if line.get("outcome") == ADDED]
        return {one.sha256: one for one in found if one.to and (self._project / one.to).is_file()}

    def last(self) -> Batch | None:
        """The newest closed batch that brought photos in; None when there was none."""
        last, pending = None, dict[tuple[str, str], Outcome]()
        for line in self._lines():
            if line["event"] == "photo":
                pending[(line["source"], line["sha256"])] = _outcome(line)
                continue
            batch = Batch(line["number"], tuple(pending.values()), line["versions"])
            last, pending = batch if batch.added else last, {}
        return last

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        found = []
        for text in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and "event" in line:
                found.append(line)
        return found

    def _append(self, line: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = not self._path.exists() or self._path.read_bytes()[-1:] in (b"", b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            file.write(("" if whole else "\n") + json.dumps(line | {"time": when}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _outcome(line: dict[str, Any]) -> Outcome:
    values: dict[str, Any] = {field.name: line.get(field.name) for field in fields(Outcome)}
    return Outcome(**values)
