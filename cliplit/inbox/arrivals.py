"""Whether enough new photos have arrived to train: what the sensor asks at every tick, without decoding any photo.

The answer depends on the inbox and the project only, not on what was answered before: asked again after a crash it
is the same answer under the same key.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cliplit.config import load_params
from cliplit.inbox.journal import Journal
from cliplit.inbox.known import remembered
from cliplit.inbox.looks import look
from cliplit.inbox.source import Inbox
from cliplit.photos.codecs import PHOTO_SUFFIXES
from cliplit.photos.importing import PHOTO_ROOT

_DATASET = Path("artifacts/dataset")


@dataclass(frozen=True)
class Arrivals:
    """Contents (sha256) that no training has seen: in the inbox, or taken in; and files still being written."""

    in_inbox: frozenset[str]
    taken_in: frozenset[str]
    waiting: int
    needed: int

    @property
    def new(self) -> frozenset[str]:
        """All of them, each content once."""
        return self.in_inbox | self.taken_in

    @property
    def enough(self) -> bool:
        """Whether they are worth a training."""
        return len(self.new) >= self.needed

    @property
    def run_key(self) -> str:
        """One name for these photos, wherever they lie and in whatever order they came."""
        return hashlib.sha256("\n".join(sorted(self.new)).encode()).hexdigest()[:32]

    def sentence(self) -> str:
        """One line for people."""
        waiting = f", {self.waiting} files are still being written" if self.waiting else ""
        return f"{len(self.new)} new photos, {self.needed} start a training (retrain.min_new_photos){waiting}"


def arrivals(project: Path) -> Arrivals:
    """Look at the inbox once; raises UserError with the fix."""
    params = load_params(project / "params.yaml")
    found = look(Inbox.open(params.inbox, project), params.inbox.settle_seconds, project)
    taken = Journal(project).added()
    known = taken.keys() | remembered(project)
    photos = [one for one in found.settled if PurePosixPath(one.file.name).suffix.lower() in PHOTO_SUFFIXES]
    curated = _curated(project)
    untrained = {sha256 for sha256, one in taken.items() if _source(one.to) not in curated}
    return Arrivals(
        frozenset(one.sha256 for one in photos if one.sha256 not in known),
        frozenset(untrained),
        len(found.waiting),
        params.retrain.min_new_photos,
    )


def _source(to: str | None) -> str:
    return Path(to or "").relative_to(PHOTO_ROOT).as_posix()


def _curated(project: Path) -> set[str]:
    """Photos below data/photos that the dataset holds, or left out with a reason."""
    found = set()
    for name in ("manifest.csv", "rejected.csv"):
        path = project / _DATASET / name
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                found |= {row.get("source", "") for row in csv.DictReader(file)}
    return found
