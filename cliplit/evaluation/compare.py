"""Trivial baselines, and how sure a mean is: what every figure of a model is put beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIXED_GAMMA = 0.45
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` photos, and the 95 % interval of that mean."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap(values: Sequence[float] | np.ndarray, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean (Efron 1979; 2000 resamples, seeded); one value gives an interval of no width.

    Raises ValueError without any value.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise ValueError("a mean of no values")
    draws = np.random.default_rng(seed).integers(0, sample.size, (RESAMPLES, sample.size))
    low, high = np.percentile(sample[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(sample.mean()), float(low), float(high), int(sample.size))


def gamma(pixels: np.ndarray, exponent: float) -> np.ndarray:
    """255 (x / 255)^exponent, rounded to 8 bits."""
    table = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return table[pixels]


def gamma_to_mean(pixels: np.ndarray, target: float) -> np.ndarray:
    """The gamma curve (exponent 0.1..1) whose result comes nearest to the mean level ``target`` (0..1).

    A photo that is brighter than that stays as it is. This is what "make dark photos as bright as well-lit ones are"
    gives without any learning.
    """
    counts = np.bincount(pixels.reshape(-1), minlength=256) / pixels.size
    levels = np.arange(256) / 255
    low, high = 0.1, 1.0
    if float(counts @ levels) >= target:
        return pixels.copy()
    for _ in range(40):
        middle = (low + high) / 2
        if float(counts @ levels**middle) > target:
            low = middle
        else:
            high = middle
    return gamma(pixels, high)
