"""What is measured on photos: fidelity to a reference, exposure, clipping, kept structure.

Protocol of every figure on pairs (it reproduces ../shared/peers/dev_pairs.csv up to its rounding):
both photos are decoded to 8-bit RGB and scaled by Pillow's Lanczos filter to a long side of 320 px; methods work on
that; PSNR is over all pixels and channels with peak 255; SSIM is scikit-image's with its defaults (7x7 uniform window,
sample covariance), data range 255, channels averaged. Means are over photos, of dB, not of squared errors. So measured,
the 40 development pairs give 10.32 dB / .415 for the input and 17.15 dB / .770 for a fixed gamma of .45 (published:
17.16 / .771).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity
from skimage.transform import integral_image

from cliplit.photos.codecs import eight_bit, read_photo, to_srgb

LONG_SIDE = 320
IDENTICAL_DB = 99.0  # stands for the infinite PSNR of equal images, so that means stay finite
WINDOW = 8


def load(path: Path, long_side: int = LONG_SIDE) -> np.ndarray:
    """The photo at ``path`` in sRGB, H x W x 3 uint8, no longer than ``long_side``; raises PhotoError."""
    return fit(eight_bit(to_srgb(read_photo(path))).pixels, long_side)


def fit(pixels: np.ndarray, long_side: int = LONG_SIDE) -> np.ndarray:
    """``pixels`` scaled down to ``long_side`` (Lanczos); smaller ones are returned as they are."""
    height, width = pixels.shape[:2]
    if max(height, width) <= long_side:
        return pixels
    scale = long_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """10 log10(255^2 / mean (a - b)^2) in dB of two uint8 images of one shape; 99 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return min(IDENTICAL_DB, float(10 * np.log10(255**2 / error))) if error else IDENTICAL_DB


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two uint8 images at least 7 px on each side, -1..1."""
    return float(structural_similarity(a, b, channel_axis=2, data_range=255))


def luma(pixels: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of uint8 RGB, H x W, 0..1."""
    weights = np.array([0.299, 0.587, 0.114])
    result: np.ndarray = pixels.astype(np.float64) @ weights / 255
    return result


def mean_level(pixels: np.ndarray) -> float:
    """Mean over pixels and channels, 0..1."""
    return float(pixels.mean() / 255)


def clipped_high(pixels: np.ndarray) -> float:
    """Share of pixels of which at least one channel is at its end (254 or 255): colour or detail is lost there."""
    return float((pixels >= 254).any(axis=2).mean())


def clipped_low(pixels: np.ndarray) -> float:
    """Share of pixels of which every channel is 0 or 1: nothing can be lifted there."""
    return float((pixels <= 1).all(axis=2).mean())


def structure(before: np.ndarray, after: np.ndarray) -> float:
    """How much of the local structure of ``before`` is in ``after``: 1 all, 0 none; blind to smooth changes of light.

    Sum over 8x8 windows of s_b * max(0, cov / (s_b * s_a)), divided by the sum of s_b: the correlation of both lumas
    inside a window, weighted with the contrast s_b it had. A flat window in ``after`` counts as lost.
    """
    sums = [_windows(value) for value in _moments(luma(before), luma(after))]
    mean_b, mean_a, square_b, square_a, product = sums
    spread_b = np.sqrt(np.clip(square_b - mean_b**2, 0, None))
    spread_a = np.sqrt(np.clip(square_a - mean_a**2, 0, None))
    correlation = np.clip((product - mean_b * mean_a) / np.maximum(spread_b * spread_a, 1e-9), 0, 1)
    total = float(spread_b.sum())
    return float((spread_b * correlation).sum() / total) if total > 1e-6 * spread_b.size else 1.0


def _moments(b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, ...]:
    return b, a, b * b, a * a, b * a


def _windows(values: np.ndarray) -> np.ndarray:
    """Means of ``values`` (H x W) over every window of WINDOW px."""
    size_y, size_x = min(WINDOW, values.shape[0]), min(WINDOW, values.shape[1])
    table = np.pad(integral_image(values), ((1, 0), (1, 0)))
    total = table[size_y:, size_x:] - table[:-size_y, size_x:] - table[size_y:, :-size_x] + table[:-size_y, :-size_x]
    return total / (size_y * size_x)
