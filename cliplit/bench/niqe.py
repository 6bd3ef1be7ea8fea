"""NIQE (Mittal, Soundararajan, Bovik 2013): how far a photo's local statistics are from those of good photos.

Written from the paper: 36 features a patch (18 at each of two scales), a multivariate Gaussian of the good photos'
sharp patches, and the distance between that and the photo's own. The good photos are the user's, so the number has no
meaning across benches that were fitted on different photos. Patches are 64 px, not 96, because photos are measured at a
long side of 320 px.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d
from scipy.special import gamma

from cliplit.evaluation import metrics

PATCH = 64
SHARP = 0.75
LEAST_PATCHES = 100
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
_WINDOW = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_WINDOW /= _WINDOW.sum()


@dataclass(frozen=True, eq=False)
class Pristine:
    """The Gaussian of good photos: mean (36), covariance (36 x 36), and how many patches it was fitted on."""

    mean: np.ndarray
    covariance: np.ndarray
    patches: int


def fit(photos: Iterable[np.ndarray]) -> Pristine | None:
    """The Gaussian of the sharp patches of ``photos`` (uint8 RGB); None when there are fewer than 100 of them."""
    chosen = []
    for pixels in photos:
        features_N36, sharpness_N = features(pixels)
        if len(sharpness_N):
            chosen.append(features_N36[sharpness_N > SHARP * sharpness_N.max()])
    table = np.concatenate(chosen) if chosen else np.empty((0, 36))
    if len(table) < LEAST_PATCHES:
        return None
    return Pristine(table.mean(axis=0), np.cov(table, rowvar=False), len(table))


def niqe(pixels: np.ndarray, pristine: Pristine) -> float | None:
    """sqrt((m - m')^T ((S + S') / 2)^-1 (m - m')), lower is better; None for photos under 64 px on a side."""
    table, _ = features(pixels)
    if not len(table):
        return None
    covariance = np.cov(table, rowvar=False) if len(table) > 1 else np.zeros((36, 36))
    difference = table.mean(axis=0) - pristine.mean
    inverse = np.linalg.pinv((covariance + pristine.covariance) / 2)
    return float(np.sqrt(max(0.0, difference @ inverse @ difference)))


def features(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each whole 64 px patch: 36 features (N x 36), and the mean local deviation (N), its sharpness."""
    luma = 255 * metrics.luma(pixels)
    height, width = (size // PATCH * PATCH for size in luma.shape)
    if not (height and width):
        return np.empty((0, 36)), np.empty(0)
    luma = luma[:height, :width]
    half = Image.fromarray(luma.astype(np.float32)).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    parts, sharpness = [], np.empty(0)
    for scale, image in ((1, luma), (2, np.asarray(half, dtype=np.float64))):
        normalised, deviation = mscn(image)
        parts.append(_features18(_patches(normalised, PATCH // scale)))
        if scale == 1:
            sharpness = _patches(deviation, PATCH).mean(axis=(1, 2))
    return np.concatenate(parts, axis=1), sharpness


def mscn(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(I - m) / (s + 1) of an image on the scale 0..255, and s: local mean and deviation, 7 x 7 Gaussian of 7/6 px."""
    mean = _blurred(luma)
    deviation = np.sqrt(np.abs(_blurred(luma**2) - mean**2))
    return (luma - mean) / (deviation + 1), deviation


def aggd(samples_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shape, left and right scale of the asymmetric generalised Gaussian of each row, by moment matching.

    Density ~ exp(-(|v| / scale)^shape) with the left scale for v < 0 (Lasmar et al. 2009): a normal distribution of
    deviation s has shape 2 and scale sqrt(2) s, a Laplace distribution of scale b has shape 1 and scale b.
    """
    left = np.sqrt(_mean_where(samples_NK**2, samples_NK < 0))
    right = np.sqrt(_mean_where(samples_NK**2, samples_NK > 0))
    skew = left / right
    ratio = np.abs(samples_NK).mean(axis=1) ** 2 / np.maximum((samples_NK**2).mean(axis=1), 1e-12)
    target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = np.interp(target, _RATIOS, _SHAPES)
    unit = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * unit, right * unit


def _features18(patches_NPP: np.ndarray) -> np.ndarray:
    """Shape and mean scale of each patch; shape, mean, left and right scale of its products with four neighbours."""
    count = len(patches_NPP)
    shape, left, right = aggd(patches_NPP.reshape(count, -1))
    columns = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        products = patches_NPP * np.roll(patches_NPP, shift, axis=(1, 2))
        shape, left, right = aggd(products.reshape(count, -1))
        columns += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(columns, axis=1)


def _mean_where(values_NK: np.ndarray, where_NK: np.ndarray) -> np.ndarray:
    """Mean of each row over ``where``, never quite 0."""
    total = np.where(where_NK, values_NK, 0).sum(axis=1) / np.maximum(where_NK.sum(axis=1), 1)
    result: np.ndarray = np.maximum(total, 1e-12)
    return result


def _patches(image: np.ndarray, size: int) -> np.ndarray:
    rows, columns = image.shape[0] // size, image.shape[1] // size
    return image.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(rows * columns, size, size)


def _blurred(image: np.ndarray) -> np.ndarray:
    return correlate1d(correlate1d(image, _WINDOW, axis=0, mode="nearest"), _WINDOW, axis=1, mode="nearest")
