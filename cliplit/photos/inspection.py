"""Looking at every photo once: decoded, made sRGB, reduced, hashed, measured, and stored as training reads it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cliplit.errors import PhotoError
from cliplit.photos.codecs import PHOTO_SUFFIXES, eight_bit, read_photo, save_jpeg, to_srgb
from cliplit.photos.hashing import perceptual_hash
from cliplit.photos.importing import PHOTO_ROOT, sha256_of

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Inspected:
    """A readable photo: its id and role, its file below data/photos, and what was measured (levels in 0..1)."""

    photo: str
    role: str
    source: str
    sha256: str
    width: int
    height: int
    hash: int
    mean_level: float
    shadow_level: float


def inspect_photos(
    project: Path, found: dict[str, list[Path]], output: Path | None, long_side: int
) -> tuple[list[Inspected], dict[str, str]]:
    """Inspect files by role; returns the readable photos in order, and source -> reason for the others.

    With ``output``, normalised copies (long side at most ``long_side``) are written to ``output``/photos/<id>.
    """
    jobs = [(role, path, name) for role, paths in found.items() for path, name in _ids(project, role, paths)]
    look = partial(_inspect, project, output, long_side)
    with ThreadPoolExecutor(2) as pool:
        results = list(tqdm(pool.map(look, jobs), total=len(jobs), desc="photos", unit="photo", disable=None))
    photos = [result for result in results if isinstance(result, Inspected)]
    return photos, dict(result for result in results if not isinstance(result, Inspected))


def _ids(project: Path, role: str, paths: list[Path]) -> list[tuple[Path, str]]:
    """A JPEG name for each file, from its path below the role's folder; equal ones tell their suffix or a number."""
    taken: set[str] = set()
    named = []
    for path in paths:
        below = path.relative_to(project / PHOTO_ROOT / role).with_suffix("")
        stem = "__".join(below.parts)
        options = [stem, f"{stem}_{path.suffix[1:].lower()}"]
        name = next((option for option in options if option.lower() not in taken), None)
        number = 2
        while name is None or name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        named.append((path, f"{role}/{name}.jpg"))
    return named


def _inspect(
    project: Path, output: Path | None, long_side: int, job: tuple[str, Path, str]
) -> Inspected | tuple[str, str]:
    role, path, name = job
    source = path.relative_to(project / PHOTO_ROOT).as_posix()
    try:
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            raise PhotoError(path, f"the ending '{path.suffix}' is not that of a photo")
        photo = eight_bit(to_srgb(read_photo(path)))
    except PhotoError as error:
        return source, error.reason
    height, width = photo.pixels.shape[:2]
    if min(height, width) < 32:
        return source, f"{width}x{height} pixels are too few, at least 32x32 are needed"
    pixels = _reduced(photo.pixels, long_side)
    if output is not None:
        save_jpeg(output / "photos" / name, pixels)
    luma = pixels[::2, ::2].astype(np.float32) @ _LUMA / 255
    mean, shadow = float(luma.mean(dtype=np.float64)), float(np.percentile(luma, 25))
    digest = sha256_of(path)
    return Inspected(name, role, source, digest, width, height, perceptual_hash(pixels), round(mean, 6), shadow)


def _reduced(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """Lanczos-reduced to a long side of at most ``long_side``; smaller photos stay as they are."""
    height, width = pixels.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
