"""data/review: files that a person must look at, with the reason for each and a contact sheet."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path, PurePosixPath

from cliplit.errors import PhotoError
from cliplit.files import atomic_path, write_text
from cliplit.inbox.journal import Outcome
from cliplit.photos.codecs import list_files, read_photo
from cliplit.photos.sheet import plain_sheet

REVIEW = Path("data/review")
TABLE = "review.csv"
SHEET = "contact_sheet.jpg"
_COLUMNS = ("file", "from", "reason")
_SHOWN = 60


def review_name(source: str, sha256: str) -> str:
    """The name of an inbox file in data/review: its own, and enough of its hash to tell it from others."""
    pure = PurePosixPath(source)
    return f"{pure.stem}-{sha256[:10]}{pure.suffix}"


def set_aside(staged: Path, target: Path) -> None:
    """Copy ``staged`` to ``target``, whole or not at all."""
    with atomic_path(target) as temporary:
        shutil.copyfile(staged, temporary)


def update(project: Path, outcomes: list[Outcome]) -> Path | None:
    """Add ``outcomes`` to review.csv, forget files that a person took away, and draw the sheet anew; its path."""
    folder = project / REVIEW
    if not folder.is_dir():
        return None
    rows = _read(folder / TABLE)
    rows |= {Path(one.to).name: (one.source, one.why) for one in outcomes if one.to is not None}
    there = [path for path in list_files(folder) if path.name not in {TABLE, SHEET}]
    rows = {path.name: rows.get(path.name, ("", "")) for path in there}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((name, *row) for name, row in sorted(rows.items()))
    write_text(folder / TABLE, text.getvalue())
    readable = [path for path in there if _is_readable(path)]
    if not readable:
        (folder / SHEET).unlink(missing_ok=True)
        return None
    shown = readable[:_SHOWN]
    more = f", {len(shown)} shown" if len(shown) < len(readable) else ""
    plain_sheet({f"review: {len(readable)} photos{more}; {TABLE} says why": shown}, folder / SHEET)
    return folder / SHEET


def _is_readable(path: Path) -> bool:
    try:
        read_photo(path)
    except PhotoError:
        return False
    return True


def _read(path: Path) -> dict[str, tuple[str, str]]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: (row["from"], row["reason"]) for row in csv.DictReader(file)}
