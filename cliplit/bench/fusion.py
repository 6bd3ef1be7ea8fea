"""Exposure fusion (Mertens, Kautz, Van Reeth 2007) of exposures that are made from a single photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import convolve, convolve1d

from cliplit.photos.profiles import srgb_curve

STOPS = (0.0, 1.0, 2.0, 3.0)
SIGMA = 0.2
_KERNEL = np.array([1, 4, 6, 4, 1]) / 16  # Burt and Adelson 1983
_LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=np.float32)
_SMALLEST = 4  # px: no pyramid level is smaller


def exposure_fusion(pixels: np.ndarray, stops: Sequence[float] = STOPS) -> np.ndarray:
    """The photo (uint8 RGB, sRGB-coded) brightened by each of ``stops`` in linear light, and fused.

    Weights are contrast x saturation x well-exposedness, all with exponent 1, blended in Laplacian pyramids.
    """
    exposures = [exposed(pixels, stop) for stop in stops]
    weights = np.stack([quality(exposure) for exposure in exposures]) + 1e-12
    weights /= weights.sum(axis=0)
    fused: list[np.ndarray] = []
    for exposure, weight in zip(exposures, weights, strict=True):
        layers = [
            part * share[..., None]
            for part, share in zip(laplacian_pyramid(exposure), gaussian_pyramid(weight), strict=True)
        ]
        fused = layers if not fused else [one + other for one, other in zip(fused, layers, strict=True)]
    return np.round(255 * collapse(fused).clip(0, 1)).astype(np.uint8)


def exposed(pixels: np.ndarray, stop: float) -> np.ndarray:
    """The photo as if exposed 2^stop times as long: gain in linear light, clipped; float32 sRGB-coded 0..1."""
    coded = np.arange(256) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    gained = linear * 2**stop
    return srgb_curve(gained)[pixels]


def quality(exposure: np.ndarray) -> np.ndarray:
    """Contrast x saturation x well-exposedness of each pixel (H x W) of an exposure (H x W x 3, 0..1)."""
    contrast = np.abs(convolve(exposure.mean(axis=2), _LAPLACIAN, mode="mirror"))
    result: np.ndarray = contrast * exposure.std(axis=2) * well_exposed(exposure)
    return result


def well_exposed(image: np.ndarray) -> np.ndarray:
    """exp(-(c - 0.5)^2 / (2 * 0.2^2)), multiplied over the channels c: 1 for middle grey, 1e-4 for black and white."""
    result: np.ndarray = np.exp(-((image - 0.5) ** 2).sum(axis=2) / (2 * SIGMA**2))
    return result


def gaussian_pyramid(image: np.ndarray) -> list[np.ndarray]:
    """The image, and halves of it until one more would fall below 4 px."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * _SMALLEST:
        levels.append(_blurred(levels[-1])[::2, ::2])
    return levels


def laplacian_pyramid(image: np.ndarray) -> list[np.ndarray]:
    """What each level of the Gaussian pyramid has beyond the next one, and the last level; ``collapse`` undoes it."""
    levels = gaussian_pyramid(image)
    details = [fine - _expanded(coarse, fine.shape) for fine, coarse in zip(levels, levels[1:], strict=False)]
    return [*details, levels[-1]]


def collapse(pyramid: Sequence[np.ndarray]) -> np.ndarray:
    """The image of a Laplacian pyramid."""
    image = pyramid[-1]
    for detail in reversed(pyramid[:-1]):
        image = detail + _expanded(image, detail.shape)
    return image


def _blurred(image: np.ndarray) -> np.ndarray:
    return convolve1d(convolve1d(image, _KERNEL, axis=0, mode="mirror"), _KERNEL, axis=1, mode="mirror")


def _expanded(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    sparse = np.zeros(shape, dtype=image.dtype)
    sparse[::2, ::2] = image
    return 4 * _blurred(sparse)
