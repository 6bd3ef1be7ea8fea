"""What needs no training: local histogram equalisation, and the bounds that know the reference."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression
from skimage.exposure import equalize_adapthist

from cliplit.evaluation import compare

EXPONENTS = np.arange(5, 401) / 100
CLIP_LIMIT = 0.01  # scikit-image's default


def clahe(pixels: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of HSV value: scikit-image's, its defaults."""
    equalised = equalize_adapthist(pixels, clip_limit=CLIP_LIMIT)
    return np.asarray(np.round(255 * equalised), dtype=np.uint8)


def best_gamma(pixels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Upper bound: the gamma curve (exponent 0.05..4 in steps of 0.01) of the least squared error to ``reference``."""
    counts, sums = _by_level(pixels, reference)
    levels = np.arange(256) / 255
    curves = np.round(255 * levels[None, :] ** EXPONENTS[:, None])
    errors = (counts * curves**2 - 2 * sums * curves).sum(axis=1)
    return compare.gamma(pixels, float(EXPONENTS[int(errors.argmin())]))


def best_tone_curve(pixels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Upper bound: of all monotone curves, one for all pixels and channels, that of the least squared error.

    Isotonic regression of the reference on the photo's 256 levels, weighted by their counts (pool adjacent violators).
    Rounding its result to 8 bits gives the best of all monotone 8-bit curves, every gamma curve among them.
    """
    counts, sums = _by_level(pixels, reference)
    seen = np.flatnonzero(counts)
    fitted = isotonic_regression(sums[seen] / counts[seen], weights=counts[seen]).x
    table = np.round(np.interp(np.arange(256), seen, fitted)).astype(np.uint8)
    return table[pixels]


def _by_level(pixels: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 levels of ``pixels``: how often it is there, and the sum of the reference's levels there."""
    flat = pixels.reshape(-1)
    counts = np.bincount(flat, minlength=256).astype(np.float64)
    return counts, np.bincount(flat, weights=reference.reshape(-1), minlength=256)
