"""The md5 of files and folders, computed exactly as DVC does."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

_IGNORED_FOLDERS = {"__pycache__", ".git", ".dvc"}
_IGNORED_FILES = {".DS_Store", "Thumbs.db"}


def path_md5(path: Path) -> str:
    """DVC's md5 of a file, or of a folder (then it ends in ".dir")."""
    return folder_md5(path) if path.is_dir() else file_md5(path)


def file_md5(path: Path) -> str:
    """The md5 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """The md5 of the JSON list of {md5, relpath} of all files, sorted by relpath, and ".dir".

    Folders and files that .dvcignore names do not count.
    """
    files = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in _IGNORED_FOLDERS]
        for name in names:
            if name not in _IGNORED_FILES:
                path = Path(root, name)
                files.append({"md5": file_md5(path), "relpath": path.relative_to(folder).as_posix()})
    files.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(files, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
