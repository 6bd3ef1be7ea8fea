"""The photos that a bench measures on: pairs, dark photos without a reference, well-lit photos; and their repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cliplit.errors import PhotoError, UserError
from cliplit.evaluation import metrics
from cliplit.guidance.lumiclip.conditions import to_coded, to_linear
from cliplit.photos.codecs import list_photos
from cliplit.photos.hashing import close_pairs, perceptual_hash

PAIRS, WELL_LIT, MILD = "pairs", "well_lit", "mild"
MILD_STOPS = -1.0
LEAST_SIDE = 16
DUPLICATE_BITS = 6


@dataclass(frozen=True)
class Sample:
    """One photo of a test set; ``photo`` is its name below the set's folder.

    With ``stops`` other than 0 the photo is its own reference, and what is measured is it so much brighter.
    """

    set: str
    photo: str
    path: Path
    reference: Path | None = None
    stops: float = 0.0

    @property
    def name(self) -> str:
        """Set and photo: what messages and tables call it."""
        return f"{self.set}/{self.photo}"

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The photo and its reference (uint8 RGB, long side at most 320 px); raises PhotoError."""
        pixels = metrics.load(self.path)
        if min(pixels.shape[:2]) < LEAST_SIDE:
            raise PhotoError(
                self.path, f"is narrower than {LEAST_SIDE} px at the size measured; remove it from the set"
            )
        if self.stops:
            return exposed(pixels, self.stops), pixels
        if self.reference is None:
            return pixels, None
        reference = metrics.load(self.reference)
        if reference.shape != pixels.shape:
            shapes = " and ".join(f"{shape[1]} x {shape[0]}" for shape in (reference.shape, pixels.shape))
            raise PhotoError(self.reference, f"differs in shape from its backlit photo ({shapes}); replace the pair")
        return pixels, reference


@dataclass(frozen=True)
class Repeat:
    """Two photos of the test sets that show the same, and by how many of 64 bits their hashes differ."""

    one: str
    other: str
    bits: int


def exposed(pixels: np.ndarray, stops: float) -> np.ndarray:
    """uint8 ``pixels`` as with another exposure: multiplied by 2^stops in linear light."""
    light = to_linear(torch.from_numpy(pixels).float() / 255) * 2.0**stops
    result: np.ndarray = to_coded(light).mul(255).round().byte().numpy()
    return result


def collect(
    pairs: Path | None, unpaired: Sequence[tuple[str, Path]], well_lit: Path | None, mild: bool = False
) -> list[Sample]:
    """All photos, set by set and sorted; with ``mild`` also the well-lit ones, one stop under-exposed.

    Raises UserError for a folder without photos or a pair without a reference.
    """
    samples = _pairs(pairs) if pairs is not None else []
    folders = [*unpaired, *([(WELL_LIT, well_lit)] if well_lit is not None else [])]
    for name, folder in folders:
        if any(sample.set == name for sample in samples):
            raise UserError(f"{name}={folder}: there is a set called '{name}' already; choose another name")
        samples += [Sample(name, path.relative_to(folder).as_posix(), path) for path in _photos(folder)]
    if mild:
        if well_lit is None:
            raise UserError("--mild darkens the photos of --well-lit; name their folder too")
        well = [sample for sample in samples if sample.set == WELL_LIT]
        samples += [Sample(MILD, sample.photo, sample.path, stops=MILD_STOPS) for sample in well]
    if not samples:
        raise UserError(
            "there is nothing to measure on; pass --pairs, --unpaired or --well-lit with a folder of photos"
        )
    return samples


def repeats(samples: Sequence[Sample], hashes: dict[str, int]) -> list[Repeat]:
    """Photos within a set or in two sets whose 64-bit perceptual hashes differ in at most 6 bits."""
    known = [sample.name for sample in samples if sample.name in hashes]
    values = [hashes[name] for name in known]
    close = [(i, j) for i, j in close_pairs(values, values, DUPLICATE_BITS) if i < j]
    return [Repeat(known[i], known[j], (values[i] ^ values[j]).bit_count()) for i, j in close]


def hashed(pixels: np.ndarray) -> int:
    """The perceptual hash of a photo as it is measured."""
    return perceptual_hash(pixels)


def _pairs(folder: Path) -> list[Sample]:
    """Pairs of equal file names in backlit/ and reference/."""
    for part in ("backlit", "reference"):
        if not (folder / part).is_dir():
            raise UserError(f"{folder / part}: there is no such folder; --pairs takes one with backlit/ and reference/")
    samples = []
    for path in _photos(folder / "backlit"):
        name = path.relative_to(folder / "backlit").as_posix()
        reference = folder / "reference" / name
        if not reference.is_file():
            raise UserError(f"{reference}: there is no such file; add the reference of {path}, or remove that photo")
        samples.append(Sample(PAIRS, name, path, reference))
    return samples


def _photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; name a folder of photos")
    found = list_photos(folder)
    if not found:
        raise UserError(f"{folder}: no photos there; name a folder of photos")
    return found
