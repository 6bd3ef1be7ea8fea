"""What the grid network sees of a photo: 128 x 128 pixels, averaged on a CPU in one pass without a float copy.

Equal to ``F.interpolate(..., mode="bilinear", antialias=True)`` when both sides shrink: every pixel is shared by the
two nearest thumbnail rows and the two nearest columns, linearly by its distance, and each thumbnail pixel is divided by
the sum of its shares. So the photo's rows between the centres of two thumbnail rows (a band) are summed twice, plainly
and weighted, which is vector code; only then are columns shared out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numba import float32, types
from torch import Tensor

from cliplit.networks.compiled import compiled, in_strips, plain
from cliplit.networks.grid import THUMBNAIL
from cliplit.networks.passes import full_scale

_PIECE = 512  # pixels of a row; both sums of a piece stay in the first-level cache
_ZERO, _ONE = np.float32(0), np.float32(1)
_PHOTO = {
    kind: types.Array(scalar, 2, "C", readonly=True)
    for kind, scalar in (("uint8", types.uint8), ("uint16", types.uint16), ("float32", float32))
}


def thumbnail(pixels: np.ndarray) -> Tensor:
    """Sees ``pixels`` (H x W x 3: uint8, uint16, or float32 in 0..1) as 1 x 3 x 128 x 128 float32 in 0..1."""
    height, width, _ = pixels.shape
    full = full_scale(pixels.dtype)
    if min(height, width) < THUMBNAIL:
        image = torch.from_numpy(np.nan_to_num(pixels.astype(np.float32) / full)).clamp_(0, 1).permute(2, 0, 1)[None]
        return F.interpolate(image, size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
    run = compiled(_bands, _PHOTO[pixels.dtype.name], float32, float32[:, :, ::1], types.intp, types.intp)
    rows = plain(pixels).reshape(height, -1)
    shares = np.zeros((2, THUMBNAIL + 2, 3 * (THUMBNAIL + 2)), np.float32)
    in_strips(
        lambda start, stop: run(rows, np.float32(full), shares, start, stop), THUMBNAIL + 1, height * width // THUMBNAIL
    )
    # Band b ends at thumbnail row b; row 0 of ``shares`` takes what lies above the first, and so on around.
    sums = (shares[0, 1:-1] + shares[1, :-2])[:, 3:-3].reshape(THUMBNAIL, THUMBNAIL, 3)
    sums /= (_shares(height)[:, None] * _shares(width)[None, :])[..., None] * full
    return torch.from_numpy(np.ascontiguousarray(sums.transpose(2, 0, 1)))[None]


def _shares(length: int) -> np.ndarray:
    """The sum of what each of the 128 takes of an axis."""
    place = (np.arange(length) + 0.5) * THUMBNAIL / length + 0.5
    before = place.astype(int)
    part = place - before
    sums = np.bincount(before, 1 - part, THUMBNAIL + 2) + np.bincount(before + 1, part, THUMBNAIL + 2)
    result: np.ndarray = sums[1:-1]
    return result


def _bands(pixels, full, shares, start, stop):  # type: ignore[no-untyped-def]
    """Bands start..stop of H x 3W ``pixels``: what each gives to the thumbnail row at its beginning and at its end."""
    height, width = pixels.shape[0], pixels.shape[1] // 3
    down, across = THUMBNAIL / height, THUMBNAIL / width
    total, weighted = np.empty(3 * _PIECE, np.float32), np.empty(3 * _PIECE, np.float32)
    for band in range(start, stop):
        first = max(0, int(np.ceil((band - 0.5) / down - 0.5)))
        last = min(height, int(np.ceil((band + 0.5) / down - 0.5)))
        for left in range(0, width, _PIECE):
            count = min(_PIECE, width - left)
            total[:] = 0
            weighted[:] = 0
            for row in range(first, last):
                part = np.float32((row + 0.5) * down + 0.5 - band)
                line = pixels[row]
                for i in range(3 * count):
                    value = np.float32(line[3 * left + i])
                    value = min(value if value > _ZERO else _ZERO, full)
                    total[i] += value
                    weighted[i] += value * part
            for i in range(count):
                place = np.float32((left + i + 0.5) * across + 0.5)
                before = int(place)
                part = place - np.float32(before)
                for channel in range(3):
                    below = weighted[3 * i + channel]
                    above = total[3 * i + channel] - below
                    at = 3 * before + channel
                    shares[0, band, at] += above * (_ONE - part)
                    shares[0, band, at + 3] += above * part
                    shares[1, band, at] += below * (_ONE - part)
                    shares[1, band, at + 3] += below * part
