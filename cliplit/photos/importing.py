"""Importing photos into a project: checked, copied or linked atomically, bad ones named and set aside."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cliplit.errors import PhotoError, UserError
from cliplit.files import atomic_path, write_text
from cliplit.photos.codecs import PHOTO_SUFFIXES, list_files, read_photo

PHOTO_ROOT = Path("data/photos")
ROLES = ("backlit", "well_lit")
PAIR_SIDES = ("backlit", "reference")
DEMO_NAME = re.compile(r"demo_(backlit|well_lit|pair)_\d{3,}\.jpg")


@dataclass
class ImportSummary:
    """What one import did: photos added and already there for each destination, and what was set aside and why."""

    added: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    set_aside: list[tuple[str, str, str]] = field(default_factory=list)
    demo_removed: int = 0

    def sentence(self) -> str:
        """One line for people."""
        parts = []
        for name in sorted({*self.added, *self.present}):
            known = f" ({self.present[name]} already there)" if self.present[name] else ""
            parts.append(f"{self.added[name]} {name}{known}")
        aside = f"; {len(self.set_aside)} set aside, see {PHOTO_ROOT}/set_aside.csv" if self.set_aside else ""
        demo = f"; {self.demo_removed} demo photos removed" if self.demo_removed else ""
        return f"imported {', '.join(parts)} into {PHOTO_ROOT}{aside}{demo}"


@dataclass(frozen=True)
class _Checked:
    path: Path
    sha256: str
    size: tuple[int, int]


def import_photos(
    backlit: Path, well_lit: Path, pairs: Path | None = None, project: Path = Path(), link: bool = False
) -> ImportSummary:
    """Import two folders of photos, and pairs if given, into ``project``; importing again changes nothing.

    Files that are no readable photos are set aside, never fatal; raises UserError when a folder cannot be used at all.
    Demo photos give way: a model of your photos should not learn from scenes that do not exist.
    """
    folders = {"backlit": Path(backlit), "well_lit": Path(well_lit)}
    for folder in folders.values():
        _require_files(folder)
    if folders["backlit"].resolve() == folders["well_lit"].resolve():
        raise UserError(f"{backlit}: given as --backlit and as --well-lit; name two different folders")
    pair_folders = {side: Path(pairs) / side for side in PAIR_SIDES} if pairs is not None else {}
    for folder in pair_folders.values():
        _require_files(folder)

    summary = ImportSummary()
    photos = {role: _check(folder, role, summary) for role, folder in folders.items()}
    photos = _without_shared(photos, folders, summary)
    sides = {side: _check(folder, f"pairs/{side}", summary) for side, folder in pair_folders.items()}
    matched = _match_pairs(sides, summary) if sides else []
    _write_set_aside(
        project / PHOTO_ROOT / "set_aside.csv", summary.set_aside, [*folders.values(), *pair_folders.values()]
    )
    for role, folder in folders.items():
        if not photos[role]:
            raise UserError(f"{folder}: holds no photo that can be used; {PHOTO_ROOT}/set_aside.csv says why for each")

    for name in (*ROLES, *(f"pairs/{side}" for side in PAIR_SIDES)):
        (project / PHOTO_ROOT / name).mkdir(parents=True, exist_ok=True)
    for path in list_files(project / PHOTO_ROOT):
        if DEMO_NAME.fullmatch(path.name) and not _is_source(path, folders):
            path.unlink()
            summary.demo_removed += 1
    for role in ROLES:
        for photo in tqdm(photos[role], desc=f"importing {role}", unit="photo", disable=None):
            _place({role: photo}, photo.sha256, project, link, summary)
    for pair in tqdm(matched, desc="importing pairs", unit="pair", disable=None):
        key = hashlib.sha256("".join(photo.sha256 for photo in pair.values()).encode()).hexdigest()
        _place({f"pairs/{side}": photo for side, photo in pair.items()}, key, project, link, summary)
    return summary


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_files(folder: Path) -> None:
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; check the path")
    if not folder.is_dir():
        raise UserError(f"{folder}: this is a file; name the folder that holds the photos")
    if not list_files(folder):
        raise UserError(f"{folder}: the folder is empty; put photos into it or name another one")


def _check(folder: Path, destination: str, summary: ImportSummary) -> list[_Checked]:
    """The readable photos of ``folder``; all other files go to ``summary.set_aside``."""
    good = []
    for path in tqdm(list_files(folder), desc=f"checking {destination}", unit="photo", disable=None):
        try:
            if path.suffix.lower() not in PHOTO_SUFFIXES:
                raise PhotoError(path, f"the ending '{path.suffix}' is not that of a photo")
            height, width = read_photo(path).pixels.shape[:2]
            good.append(_Checked(path, sha256_of(path), (width, height)))
        except PhotoError as error:
            summary.set_aside.append((destination, str(path), error.reason))
        except OSError as error:
            summary.set_aside.append((destination, str(path), f"cannot be read ({error.strerror})"))
    return good


def _without_shared(
    photos: dict[str, list[_Checked]], folders: dict[str, Path], summary: ImportSummary
) -> dict[str, list[_Checked]]:
    """Photos that stand in both folders are set aside; when that is most of a folder, it is a mistake: UserError."""
    hashes = {role: {photo.sha256 for photo in photos[role]} for role in ROLES}
    shared = hashes["backlit"] & hashes["well_lit"]
    smaller = min(len(hashes[role]) for role in ROLES)
    if shared and 2 * len(shared) >= smaller:
        raise UserError(
            f"{folders['backlit']} and {folders['well_lit']} hold the same photos ({len(shared)} of {smaller}); "
            "put each photo into the one folder where it belongs"
        )
    for role in ROLES:
        for photo in photos[role]:
            if photo.sha256 in shared:
                summary.set_aside.append((role, str(photo.path), "the same photo stands in both folders"))
    return {role: [photo for photo in photos[role] if photo.sha256 not in shared] for role in ROLES}


def _match_pairs(sides: dict[str, list[_Checked]], summary: ImportSummary) -> list[dict[str, _Checked]]:
    """Pairs by equal file name and equal size; the rest is set aside."""
    named = {side: {photo.path.name: photo for photo in sides[side]} for side in PAIR_SIDES}
    matched = []
    for side, other in (PAIR_SIDES, PAIR_SIDES[::-1]):
        for name, photo in named[side].items():
            partner = named[other].get(name)
            if partner is None:
                reason = f"no readable photo of the same name in {other}"
            elif partner.size != photo.size:
                reason = "its size {}x{} differs from {}x{} in {}".format(*photo.size, *partner.size, other)
            else:
                if side == PAIR_SIDES[0]:
                    matched.append({side: photo, other: partner})
                continue
            summary.set_aside.append((f"pairs/{side}", str(photo.path), reason))
    return matched


def _place(photos: dict[str, _Checked], key: str, project: Path, link: bool, summary: ImportSummary) -> None:
    """Put photos into their destinations under one name; one that is taken by other content gets part of ``key``."""
    name = next(iter(photos.values())).path.name
    suffix = Path(name).suffix
    for candidate in (name, f"{Path(name).stem}-{key[:10]}{suffix}"):
        targets = {where: project / PHOTO_ROOT / where / candidate for where in photos}
        taken = {where: sha256_of(target) for where, target in targets.items() if target.exists()}
        if all(taken[where] == photos[where].sha256 for where in taken):
            break
    for where, target in targets.items():
        if where in taken:
            summary.present[where] += 1
            continue
        _copy(photos[where].path, target, link)
        summary.added[where] += 1


def _copy(source: Path, target: Path, link: bool) -> None:
    """Hard-link if asked and possible, else copy; atomic; raises UserError when the disk is full."""
    try:
        if link:
            try:
                os.link(source.resolve(), target)
                return
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason = "not imported, no space left on the disk; free some and import again, what is there stays"
            raise UserError(f"{target}: {reason}") from None
        raise UserError(f"{target}: not imported ({error.strerror}); put that right and import again") from None


def _write_set_aside(path: Path, rows: list[tuple[str, str, str]], checked: Iterable[Path]) -> None:
    """Replace what ``path`` says about files below the folders ``checked`` by ``rows``; no file when none is left."""
    folders = [folder.resolve() for folder in checked]
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            earlier = [(row["for"], row["file"], row["reason"]) for row in csv.DictReader(file)]
        rows = rows + [row for row in earlier if not any(Path(row[1]).resolve().is_relative_to(f) for f in folders)]
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("for", "file", "reason"))
    writer.writerows(sorted(rows))
    write_text(path, text.getvalue())


def _is_source(path: Path, folders: dict[str, Path]) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders.values())
