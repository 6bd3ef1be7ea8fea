"""The curated photos as training sees them: which there are, and their pixels, decoded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cliplit.errors import UserError
from cliplit.photos.codecs import read_photo
from cliplit.photos.curate import load_manifest

DATASET = Path("artifacts/dataset")
_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class PhotoRow:
    """A line of the manifest: the photo's name below artifacts/dataset/photos, its role and its split."""

    photo: str
    role: str
    split: str


class Dataset:
    """The photos of a project; ``pixels`` decodes each once while at most ``cache_bytes`` are kept."""

    def __init__(self, project: Path, cache_bytes: int = _CACHE_BYTES) -> None:
        self.folder = project / DATASET / "photos"
        self.rows = read_manifest(project)
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._used = 0
        self._digests: dict[str, str] = {}

    def select(self, role: str, split: str) -> list[PhotoRow]:
        """The photos of a role ("backlit" or "well_lit") and a split ("train" or "val"); raises UserError if none."""
        chosen = [row for row in self.rows if row.role == role and row.split == split]
        if not chosen:
            raise UserError(
                f"{self.folder.parent / 'manifest.csv'}: there is no {role} photo in the split '{split}'; "
                "import more photos, or change curate.validation_fraction in params.yaml"
            )
        return chosen

    def pixels(self, row: PhotoRow) -> np.ndarray:
        """HxWx3 uint8, not to be written to; raises PhotoError."""
        if row.photo in self._cache:
            self._cache.move_to_end(row.photo)
            return self._cache[row.photo]
        pixels = read_photo(self.folder / row.photo).pixels
        self._cache[row.photo] = pixels
        self._used += pixels.nbytes
        while self._used > self._cache_bytes and len(self._cache) > 1:
            self._used -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def digest(self, row: PhotoRow) -> str:
        """The sha256 of the photo's file, as training reads it."""
        if row.photo not in self._digests:
            self._digests[row.photo] = hashlib.sha256((self.folder / row.photo).read_bytes()).hexdigest()
        return self._digests[row.photo]


def read_manifest(project: Path) -> list[PhotoRow]:
    """All photos of the dataset, sorted by name; raises UserError when the stage curate has not run."""
    table = load_manifest(project)
    rows = [PhotoRow(*map(str, line)) for line in table[["photo", "role", "split"]].itertuples(index=False)]
    return sorted(rows, key=lambda row: row.photo)


def require(path: Path, stage: str) -> Path:
    """``path``; raises UserError naming the stage that makes it when it is not there."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; run `cliplit stage {stage}` (or `dvc repro`) first")
    return path
