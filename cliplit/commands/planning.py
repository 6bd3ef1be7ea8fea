"""Which photos ``cliplit enhance`` relights, and where each of them goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cliplit.errors import UserError
from cliplit.photos.codecs import PHOTO_SUFFIXES, list_photos, suffix_to_write

#: Stands for stdin among the photos and for stdout as the output.
PIPE = Path("-")


@dataclass(frozen=True)
class Job:
    """One photo, and where it goes; either may be PIPE."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """One photo that was not relit, and why in one sentence."""

    source: Path
    reason: str


def plan(photos: Sequence[str], output: str, recursive: bool = True) -> tuple[list[Job], list[Failure]]:
    """What to relight, folders keeping their structure below ``output``, and what cannot be relit.

    ``photos`` are files, folders, patterns with * ? [] or "-"; ``output`` is a folder, for one photo also a file, "-".
    Raises UserError when it cannot be that, or when a photo would be written onto itself.
    """
    named = list(dict.fromkeys(found for photo in photos for found in _named(photo, Path(output), recursive)))
    single = len(named) == 1 and not any(Path(photo).is_dir() for photo in photos)
    folder = _is_folder(output)
    if not folder and not single:
        raise UserError(f"{output}: takes one photo, and {len(named)} are given; name a folder with -o")
    if folder and any(source == PIPE for source, _ in named):
        raise UserError(f"{output}: is a folder, and a photo from stdin has no name; name a file with -o, or -o -")
    jobs: list[Job] = []
    failures: list[Failure] = []
    taken: dict[str, Path] = {}
    for source, name in named:
        target = Path(output) / name.with_suffix(suffix_to_write(name)) if folder else Path(output)
        if source != PIPE and not source.exists():
            failures.append(Failure(source, "there is no such file; check the name"))
        elif taken.setdefault(_key(target), source) != source:
            failures.append(Failure(source, f"{taken[_key(target)]} goes to the same output; relight it separately"))
        else:
            jobs.append(Job(source, target))
    _check_not_replaced(jobs)
    return jobs, failures


def _named(photo: str, output: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """The photos that ``photo`` stands for, each with its name below the output folder."""
    path = Path(photo)
    if path.is_dir():
        yield from _inside(path, output, recursive)
    elif path == PIPE or os.path.lexists(path) or not glob.has_magic(photo):
        yield path, Path(path.name)
    else:
        matches = [Path(match) for match in sorted(glob.glob(photo, recursive=True))]  # noqa: PTH207 - absolute too
        photos = [match for match in matches if match.suffix.lower() in PHOTO_SUFFIXES and not match.is_dir()]
        if not photos:
            yield path, Path(path.name)  # which is then missing, by the name that was typed
        yield from ((match, Path(match.name)) for match in photos)


def _inside(folder: Path, output: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Photos of a folder by their names below it; what earlier runs put into an output inside it is no input."""
    inside, own = os.path.realpath(output), os.path.realpath(folder)
    for path in list_photos(folder):
        earlier = own != inside and os.path.realpath(path).startswith(inside + os.sep)
        if not earlier and (recursive or path.parent == folder):
            yield path, path.relative_to(folder)


def _is_folder(output: str) -> bool:
    """Whether ``output`` is a folder or shall become one; a name with a photo's ending is a file."""
    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return True
    is_photo = path == PIPE or path.suffix.lower() in PHOTO_SUFFIXES
    if path.exists() and not is_photo:
        raise UserError(f"{output}: is a file, and no photo; name a folder with -o")
    return not is_photo


def _check_not_replaced(jobs: list[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs if job.source != PIPE}
    for job in jobs:
        if job.target != PIPE and os.path.realpath(job.target) in sources:
            raise UserError(f"{job.source}: the output would replace the photo itself; choose another folder with -o")


def _key(target: Path) -> str:
    """Equal for targets that a case-insensitive file system takes for one."""
    return os.path.normpath(target).casefold()
