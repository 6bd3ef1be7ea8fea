"""Which photos a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

from cliplit.photos.photo import PHOTO_SUFFIXES


def list_photos(folder: Path | str) -> list[Path]:
    """Photos below ``folder`` by suffix, sorted; hidden files and folders are skipped, links are followed once."""
    return [path for path in list_files(folder) if path.suffix.lower() in PHOTO_SUFFIXES]


def list_files(folder: Path | str) -> list[Path]:
    """All files below ``folder`` that are not hidden, sorted; a linked folder is entered at most once."""
    folder = Path(folder)
    found: list[Path] = []
    entered: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = Path(parent).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".") and Path(parent, name).is_file()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
