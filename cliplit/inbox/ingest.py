"""Ingest: what has arrived in the inbox becomes part of data/photos, safely, once, and with a reason.

For each file the order is: write down what will be done, copy, and only then empty the inbox. A kill anywhere leaves
the file in the inbox or the photo in the project, and the next ingest goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from cliplit.config import Params, load_params
from cliplit.files import atomic_path
from cliplit.inbox import review
from cliplit.inbox.journal import ADDED, DUPLICATE, REVIEW, Batch, Journal, Outcome
from cliplit.inbox.known import Known, Library
from cliplit.inbox.looks import Settled, look_until_settled
from cliplit.inbox.sorting import sort_by_light
from cliplit.inbox.source import FOLDERS, Inbox
from cliplit.lineage import dvc, graph
from cliplit.lineage.champion import champion_export
from cliplit.photos.importing import PHOTO_ROOT, ROLES, sha256_of
from cliplit.photos.inspection import Inspected, inspect_photos

_STAGING = Path("work/inbox/staging")
_AT_A_TIME = 32  # files that lie in staging at once
_PATIENCE = 0.2  # s before it is said that a stage is waited for


@dataclass(frozen=True)
class Ingested:
    """What one ingest did: the batch, how many files were still being written, what was said, and the review sheet."""

    batch: Batch
    waiting: int
    notes: tuple[str, ...]
    sheet: Path | None

    def sentence(self) -> str:
        """One line for people."""
        counts = {role: sum(one.role == role for one in self.batch.added) for role in ROLES}
        parts = [f"{count} {role}" for role, count in counts.items() if count] or ["no new photo"]
        others = {
            "known already": sum(one.outcome == DUPLICATE for one in self.batch.outcomes),
            f"for you to look at in {review.REVIEW}": sum(one.outcome == REVIEW for one in self.batch.outcomes),
            "still being written": self.waiting,
        }
        return "; ".join([f"took in {', '.join(parts)}", *(f"{n} {what}" for what, n in others.items() if n)])


def ingest(project: Path = Path()) -> Ingested:
    """Take in what has arrived; raises UserError with the fix, after which nothing is lost and it can be repeated.

    It holds the lock of the stages, so that no photo changes under one that runs.
    """
    params = load_params(project / "params.yaml")
    with _no_stage_runs(project):
        inbox = Inbox.open(params.inbox, project)
        inbox.make_folders()
        found = look_until_settled(inbox, params.inbox.settle_seconds, project)
        run = _Run(params, project, inbox)
        changed = 0
        try:
            for start in range(0, len(found.settled), _AT_A_TIME):
                changed += run.take(found.settled[start : start + _AT_A_TIME])
        finally:
            run.library.keep()
        return run.close(len(found.waiting) + changed)


class _Run:
    """One ingest under way."""

    def __init__(self, params: Params, project: Path, inbox: Inbox) -> None:
        self.params, self.project, self.inbox = params, project, inbox
        self.journal = Journal(project)
        self.library = Library(project, params.curate.long_side, params.curate.duplicate_bits)
        self.under_way = self.journal.under_way()

    def take(self, files: tuple[Settled, ...]) -> int:
        """Take in files that have arrived; returns how many changed meanwhile and wait for the next time."""
        staging = self.project / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staged = {file: path for file in files if (path := self._stage(file)) is not None}
            outcomes, measured = self._judge(staged)
            for file, path in staged.items():
                self._carry_out(file, path, outcomes[file], measured.get(file))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return len(files) - len(staged)

    def close(self, waiting: int) -> Ingested:
        """Photos under DVC, the champion beside them, and the batch closed."""
        reviewed = [one for one in self.journal.under_way().values() if one.outcome == REVIEW]
        sheet = review.update(self.project, reviewed)
        notes = []
        if any(one.outcome == ADDED for one in self.journal.under_way().values()):
            notes = [dvc.track_photos(self.project), champion_export(self.project)]
        return Ingested(self.journal.close(photo_versions(self.project)), waiting, tuple(notes), sheet)

    def _stage(self, file: Settled) -> Path | None:
        """A local copy below a folder like data/photos; None when the file is no longer what was looked at."""
        name = f"{file.sha256[:16]}/{Path(file.file.name).name}"  # two folders of the inbox may hold one name
        path = self.project / _STAGING / PHOTO_ROOT / file.file.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as copy:
            if self.inbox.sha256(file.file, copy) == file.sha256:
                return path
        path.unlink()
        return None

    def _judge(self, staged: dict[Settled, Path]) -> tuple[dict[Settled, Outcome], dict[Settled, Inspected]]:
        """What shall become of each file, and what was measured of the readable ones."""
        root = self.project / _STAGING
        found = {folder: [p for f, p in staged.items() if f.file.folder == folder] for folder in FOLDERS}
        photos, rejected = inspect_photos(root, found, root / "small", self.params.curate.long_side)
        by_source = {photo.source: photo for photo in photos}
        sources = {file: path.relative_to(root / PHOTO_ROOT).as_posix() for file, path in staged.items()}
        measured = {file: by_source[source] for file, source in sources.items() if source in by_source}
        unsorted = [file for file in measured if file.file.folder == "unsorted" and not self._is_known(file)]
        small = [root / "small" / "photos" / measured[file].photo for file in unsorted]
        sorted_ = dict(zip(unsorted, sort_by_light(small, self.params), strict=True))
        outcomes = {}
        for file, source in sources.items():
            blank = Outcome(file.file.source, file.sha256, REVIEW, rejected.get(source, ""))
            if file in sorted_:
                light = sorted_[file]
                why = f"the prior is {light.confidence:.0%} sure, it sees {light.text}"
                if light.role is None:
                    why = f"not sure enough to sort it: {light.confidence:.0%}, the prior sees {light.text}"
                blank = replace(blank, role=light.role, why=why, confidence=light.confidence)
            elif file in measured:
                blank = replace(blank, role=file.file.folder, why=f"it lay in {file.file.folder}/")
            outcomes[file] = blank
        return outcomes, measured

    def _is_known(self, file: Settled) -> bool:
        return self.library.same_content(file.sha256) is not None

    def _carry_out(self, file: Settled, staged: Path, wish: Outcome, photo: Inspected | None) -> None:
        """Decide against all that is known by now, copy, and empty the inbox; ``wish`` has the role or the reason."""
        outcome = self.under_way.get((file.file.source, file.sha256))
        if outcome is None or not self._is_done(outcome):
            outcome = self._decide(file, wish, photo)
            self.journal.note(outcome)
            self._copy(staged, outcome)
        if outcome.outcome == ADDED and outcome.to is not None and photo is not None:
            source = Path(outcome.to).relative_to(PHOTO_ROOT).as_posix()
            if not self._is_known(file):
                self.library.add(Known(source, file.sha256, photo.hash, photo.mean_level))
        kept = outcome.outcome != DUPLICATE or self._is_known(file)
        self.inbox.finish(file.file, self.params.inbox.after if kept else "move", file.sha256)

    def _is_done(self, outcome: Outcome) -> bool:
        """Whether an ingest that was cut off had made the copy already."""
        if outcome.to is None or not (self.project / outcome.to).is_file():
            return False
        return sha256_of(self.project / outcome.to) == outcome.sha256

    def _decide(self, file: Settled, wish: Outcome, photo: Inspected | None) -> Outcome:
        known = self.library.same_content(file.sha256)
        if known is not None:
            return replace(wish, outcome=DUPLICATE, role=None, why=f"the same file as {known.source}")
        if photo is not None and wish.role is not None:
            twin = self.library.twin(photo, wish.role)
            if twin is None:
                to = self._free_name(wish.role, Path(file.file.name).name, file.sha256)
                return replace(wish, outcome=ADDED, to=to.as_posix())
            if twin[0].role in (wish.role, "pairs"):
                return replace(wish, outcome=DUPLICATE, role=None, why=twin[1])
            wish = replace(wish, role=None, why=twin[1])
        name = review.review_name(file.file.source, file.sha256)
        return replace(wish, outcome=REVIEW, to=(review.REVIEW / name).as_posix())

    def _copy(self, staged: Path, outcome: Outcome) -> None:
        if outcome.to is None:
            return
        with atomic_path(self.project / outcome.to) as temporary:
            shutil.copyfile(staged, temporary)

    def _free_name(self, role: str, name: str, sha256: str) -> Path:
        """Where a photo goes in data/photos: under its own name, unless another photo has it."""
        target = PHOTO_ROOT / role / name
        if (self.project / target).exists() and sha256_of(self.project / target) != sha256:
            return target.with_name(f"{target.stem}-{sha256[:10]}{target.suffix}")
        return target


def photo_versions(project: Path) -> dict[str, str]:
    """The DVC md5 of each photo folder that DVC tracks: together they name the version of the raw dataset."""
    found = {}
    for role in (*ROLES, "pairs"):
        file = project / PHOTO_ROOT / f"{role}.dvc"
        if file.is_file():
            found[role] = str(graph.read_yaml(file)["outs"][0]["md5"])
    return found


@contextmanager
def _no_stage_runs(project: Path) -> Iterator[None]:
    """Holds the lock that every stage holds while it runs (pipelines.runner takes it too)."""
    path = project / "work" / "runner.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        print("Waiting for a stage of this project to finish.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
