"""All photos that the project has, by content and by looks, so that none comes in twice.

What was measured is kept in work/inbox/known.json and measured again where a file's size or time changed.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from cliplit.files import read_json, write_json
from cliplit.photos.codecs import list_files
from cliplit.photos.curate import SAME_EXPOSURE
from cliplit.photos.hashing import close_pairs
from cliplit.photos.importing import PAIR_SIDES, PHOTO_ROOT, ROLES, sha256_of
from cliplit.photos.inspection import Inspected, inspect_photos

_CACHE = Path("work/inbox/known.json")
_PAIRS = tuple(f"pairs/{side}" for side in PAIR_SIDES)


@dataclass(frozen=True)
class Known:
    """A photo of the project: its file below data/photos, its content's hash, its perceptual hash and mean level."""

    source: str
    sha256: str
    hash: int | None = None
    mean_level: float = 0.0

    @property
    def role(self) -> str:
        """backlit, well_lit or pairs."""
        return self.source.split("/", 1)[0]


class Library:
    """What ``project`` has; photos that come in are added as they do."""

    def __init__(self, project: Path, long_side: int, duplicate_bits: int) -> None:
        self._project, self._long_side, self._bits = project, long_side, duplicate_bits
        self.photos = self._measured()
        self._by_content = {photo.sha256: photo for photo in self.photos}

    def same_content(self, sha256: str) -> Known | None:
        """The photo of exactly these bytes."""
        return self._by_content.get(sha256)

    def twin(self, photo: Inspected, role: str) -> tuple[Known, str] | None:
        """A photo that forbids ``photo`` in ``role``, and why; curate would leave it out, or both."""
        looks = [known for known in self.photos if known.hash is not None]
        hashes = [known.hash for known in looks if known.hash is not None]
        close = [looks[j] for _, j in close_pairs([photo.hash], hashes, self._bits)]
        for known in close:
            if known.role == role:
                return known, f"looks like {known.source}"
            if known.role == "pairs":
                return known, f"shows the scene of the evaluation pair {Path(known.source).name}"
        for known in close:
            if abs(known.mean_level - photo.mean_level) < SAME_EXPOSURE:
                return known, f"the same photo stands in the other folder, as {known.source}"
        return None

    def add(self, known: Known) -> None:
        """``known`` is in data/photos from now on."""
        self.photos.append(known)
        self._by_content[known.sha256] = known

    def keep(self) -> None:
        """Write down what was measured, for the next time."""
        photos = {}
        for known in self.photos:
            path = self._project / PHOTO_ROOT / known.source
            if path.is_file():
                photos[known.source] = [*_stamp(path), *astuple(known)[1:]]
        write_json(self._project / _CACHE, {"long_side": self._long_side, "photos": photos})

    def _measured(self) -> list[Known]:
        cached = _read(self._project / _CACHE)
        entries: dict[str, list[Any]] = cached.get("photos", {}) if cached.get("long_side") == self._long_side else {}
        found, unknown = list[Known](), dict[str, list[Path]]()
        for role in (*ROLES, *_PAIRS):
            folder = self._project / PHOTO_ROOT / role
            for path in list_files(folder) if folder.is_dir() else []:
                source = path.relative_to(self._project / PHOTO_ROOT).as_posix()
                entry = entries.get(source)
                if entry is not None and entry[:2] == list(_stamp(path)):
                    found.append(Known(source, *entry[2:]))
                else:
                    unknown.setdefault(role, []).append(path)
        photos, unreadable = inspect_photos(self._project, unknown, None, self._long_side)
        found += [Known(photo.source, photo.sha256, photo.hash, photo.mean_level) for photo in photos]
        found += [Known(source, sha256_of(self._project / PHOTO_ROOT / source)) for source in unreadable]
        return found


def remembered(project: Path) -> set[str]:
    """The contents that the last ingest knew, without looking at any photo."""
    return {entry[2] for entry in _read(project / _CACHE).get("photos", {}).values()}


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path)
        return found
    except (OSError, ValueError):
        return {}
