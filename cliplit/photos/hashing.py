"""Which photos show the same: perceptual hashes, file names of exposure brackets, and groups of both."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WORD = re.compile(
    r"^(?P<rest>.+?)[_\-. ](?:(?:backlit|backlight|under|over|normal|dark|bright|low|high|mid|well_?lit|gt|reference"
    r"|underexposed|overexposed)\d*|(?:ev|exp|exposure|bracket|hdr)[_\-]?[+\-]?\d+(?:\.\d+)?)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^(?P<rest>.*\d)[_\-. ]\d+$")
_LARGEST_BRACKET = 12


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit DCT hash (imagehash.phash) of sRGB pixels: close for the same picture at any size or exposure."""
    bits = imagehash.phash(Image.fromarray(pixels), hash_size=8).hash
    return int("".join("1" if bit else "0" for bit in bits.flatten()), 2)


def close_pairs(hashes: Sequence[int], others: Sequence[int], bits: int) -> list[tuple[int, int]]:
    """Index pairs (i, j), in order, whose hashes differ in at most ``bits`` of their 64 bits."""
    right = np.array(others, dtype=np.uint64)
    found = []
    for index, value in enumerate(hashes):
        distance = np.bitwise_count(right ^ np.uint64(value))
        found += [(index, int(other)) for other in np.flatnonzero(distance <= bits)]
    return found


def bracket_name(stem: str) -> str | None:
    """The scene that a file name tells: ``hall_under`` -> hall, ``sice_s000_96_backlit`` -> sice_s000; else None.

    The rule: an exposure word at the end (backlit, under, over, normal, ev+1, exp2, bracket3, ...) is taken off, then
    also a shot number before it, if what is left ends in a number of its own. Names without such a word tell nothing.
    """
    match = _WORD.match(stem)
    if match is None:
        return None
    rest = match["rest"]
    number = _NUMBER.match(rest)
    return (number["rest"] if number else rest).lower()


def bracket_names(stems: Iterable[str]) -> dict[str, str]:
    """stem -> scene for all stems whose names tell one; groups too large for an exposure bracket tell nothing."""
    groups: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        name = bracket_name(stem)
        if name is not None:
            groups[name].add(stem)
    return {stem: name for name, group in groups.items() if len(group) <= _LARGEST_BRACKET for stem in group}


def connected(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of ``count`` items, the smallest index that it is linked to, directly or over others."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(item) for item in range(count)]


def seeded_fraction(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on ``seed`` and ``text`` only, for splits that survive new photos."""
    digest = hashlib.sha256(f"{seed}/{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
