"""Photos that break things: a model that serves must give each of them back whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cliplit.enhancer import Enhancer
from cliplit.photos.codecs import Photo

_SIDE = 96


def hostile_photos() -> Iterator[tuple[str, Photo]]:
    """Name and photo; made by formulas and a fixed seed."""
    rng = np.random.default_rng(0)
    full = (_SIDE, _SIDE, 3)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    checkers = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    noise = rng.integers(0, 256, full, dtype=np.uint8)
    eight_bit = {
        "black": np.zeros(full, np.uint8),
        "white": np.full(full, 255, np.uint8),
        "1x1": np.full((1, 1, 3), 40, np.uint8),
        "1x5000": rng.integers(0, 256, (1, 5000, 3), dtype=np.uint8),
        "5000x1": rng.integers(0, 256, (5000, 1, 3), dtype=np.uint8),
        "noise": noise,
        "checkerboard": checkers,
        "one bright pixel": np.where((rows + columns == 0)[..., None], 255, np.zeros(full)).astype(np.uint8),
    }
    for name, pixels in eight_bit.items():
        yield name, Photo(pixels)
        yield f"{name}, float", Photo((pixels / 255).astype(np.float32), format="TIFF")
    yield "16 bit", Photo(rng.integers(0, 65536, full, dtype=np.uint16), format="TIFF")
    scene = np.exp(rng.uniform(-12, 7, full)).astype(np.float32)  # 27 stops, up to a thousand times white
    yield "HDR", Photo(scene, format="EXR", linear=True)
    yield "HDR, black", Photo(np.zeros(full, np.float32), format="EXR", linear=True)


def faults(enhancer: Enhancer) -> tuple[list[str], int]:
    """(sentences about photos that were not given back whole, number of photos tried)."""
    found, count = [], 0
    for name, photo in hostile_photos():
        count += 1
        try:
            result = enhancer.enhance_photo(photo).pixels
        except Exception as error:  # whatever goes wrong, the model must not serve
            found.append(f"{name}: {type(error).__name__}: {str(error)[:100]}")
            continue
        if result.shape != photo.pixels.shape or result.dtype != photo.pixels.dtype:
            found.append(f"{name}: {photo.pixels.shape} {photo.pixels.dtype} became {result.shape} {result.dtype}")
        elif not np.isfinite(result).all():
            found.append(f"{name}: {int((~np.isfinite(result)).sum())} values are not finite")
    return found, count
