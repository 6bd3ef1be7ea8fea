"""Which files of the inbox have arrived: those whose size and content stayed the same between two looks.

What earlier looks saw stands in work/inbox/looks.json, so that the sensor's ticks, a job and the command line count as
looks alike. A storage's times are used only to save reading a file again that has settled before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cliplit.files import read_json, write_json
from cliplit.inbox.source import Arrived, Inbox

_LOOKS = Path("work/inbox/looks.json")


@dataclass(frozen=True)
class Settled:
    """A file that has arrived, and the hash of its content."""

    file: Arrived
    sha256: str


@dataclass(frozen=True)
class Looked:
    """What one look at the inbox found."""

    settled: tuple[Settled, ...]
    waiting: tuple[Arrived, ...]


def look(inbox: Inbox, settle_seconds: float, project: Path, clock: Callable[[], float] = time.time) -> Looked:
    """Look once; a file has settled when its size and content are those of a look ``settle_seconds`` ago or more."""
    before, now = _read(project / _LOOKS), clock()
    after: dict[str, dict[str, Any]] = {}
    settled, waiting = [], []
    for file in inbox.files():
        seen = _see(inbox, file, before.get(file.source), now, settle_seconds)
        if seen is None:  # it grew or went away while it was read
            waiting.append(file)
            continue
        after[file.source] = seen
        if seen["settled"]:
            settled.append(Settled(file, seen["sha256"]))
        else:
            waiting.append(file)
    if after != before:
        write_json(project / _LOOKS, after)
    return Looked(tuple(settled), tuple(waiting))


def look_until_settled(inbox: Inbox, settle_seconds: float, project: Path) -> Looked:
    """Look, and look again after ``settle_seconds`` if anything was seen for the first time."""
    found = look(inbox, settle_seconds, project)
    if found.waiting and settle_seconds:
        time.sleep(settle_seconds)
        found = look(inbox, settle_seconds, project)
    return found


def _see(
    inbox: Inbox, file: Arrived, earlier: dict[str, Any] | None, now: float, settle_seconds: float
) -> dict[str, Any] | None:
    """What is remembered of ``file`` after this look; None when it changed while it was read."""
    same = earlier is not None and (earlier["size"], earlier["stamp"]) == (file.size, file.stamp)
    if earlier is not None and same and earlier["settled"]:
        return earlier
    sha256 = inbox.sha256(file)
    if sha256 is None:
        return None
    unchanged = earlier is not None and earlier["size"] == file.size and earlier["sha256"] == sha256
    since = earlier["since"] if earlier is not None and unchanged else now
    return {
        "size": file.size,
        "stamp": file.stamp,
        "sha256": sha256,
        "since": since,
        "settled": now - since >= settle_seconds,
    }


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = read_json(path)
        return found
    except (OSError, ValueError):
        return {}
