"""What is measured on one photo and one result beyond fidelity: exposure, clipping, hue, noise."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import binary_erosion, convolve, uniform_filter

from cliplit.bench import fusion
from cliplit.evaluation import metrics

WELL_EXPOSED = 0.6
PATCH = 16
DARK = 0.15
LEAST_DARK = 400  # px: a median over fewer says nothing
HUE_ABOVE = 0.1
HUE_CHROMA = 10 / 255  # below, one 8-bit step turns the hue by more than six degrees
QUANTISATION = math.sqrt((0.299**2 + 0.587**2 + 0.114**2) / 12) / 255
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)


def exposure_error(pixels: np.ndarray) -> float:
    """Mean over 16 x 16 patches of |mean level - 0.6| (Zero-DCE's exposure term, Guo et al. 2020), 0..0.6."""
    level = pixels.mean(axis=2) / 255
    height, width = (max(PATCH, size // PATCH * PATCH) for size in level.shape)
    level = level[:height, :width]
    if min(level.shape) < PATCH:
        return float(abs(level.mean() - WELL_EXPOSED))
    patches = level.reshape(height // PATCH, PATCH, width // PATCH, PATCH).mean(axis=(1, 3))
    return float(np.abs(patches - WELL_EXPOSED).mean())


def well_exposedness(pixels: np.ndarray) -> float:
    """Mean over pixels of Mertens' well-exposedness, 0..1: how much of the photo lies near middle grey."""
    return float(fusion.well_exposed(pixels.astype(np.float32) / 255).mean())


def chroma(pixels: np.ndarray) -> float:
    """Mean over pixels of the largest less the smallest channel, 0..1: how colourful a photo is."""
    return float(np.ptp(pixels, axis=2).mean() / 255)


def hue_error(before: np.ndarray, after: np.ndarray) -> float | None:
    """Mean |hue difference| in degrees over pixels whose luma in ``before`` is above 0.1; None where there are none.

    Hue is the angle around the grey axis, atan2(sqrt(3) (G - B), 2 R - G - B): a gain or an offset that is equal in all
    channels keeps it. Pixels nearly grey before (chroma, the largest less the smallest channel, under 10 levels) or
    bleached to under 3 levels after have no hue and do not count.
    """
    counted = (metrics.luma(before) > HUE_ABOVE) & (np.ptp(before, axis=2) / 255 >= HUE_CHROMA)
    counted &= np.ptp(after, axis=2) >= 3
    if not counted.any():
        return None
    turn = np.abs(_hue(before[counted]) - _hue(after[counted]))
    return float(np.degrees(np.minimum(turn, 2 * math.pi - turn)).mean())


def _hue(pixels_N3: np.ndarray) -> np.ndarray:
    red, green, blue = pixels_N3.astype(np.float64).T
    result: np.ndarray = np.arctan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)
    return result


def dark_region(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H x W) whose luma, averaged over 5 x 5 px, is below 0.15, with a margin of 1 px; clipped black is not."""
    luma = metrics.luma(pixels)
    region: np.ndarray = (uniform_filter(luma, 5) < DARK) & (pixels > 1).any(axis=2)
    return binary_erosion(region)


def noise_std(pixels: np.ndarray, region: np.ndarray) -> float:
    """Standard deviation of the noise of the luma (0..1) inside ``region``.

    Immerkaer (Fast Noise Variance Estimation, CVIU 1996): the difference of two Laplacians, 3 x 3, is blind to planes
    and answers white noise of deviation s with deviation 6 s. Instead of the mean of its modulus the median is taken,
    divided by 0.6745, so that edges count little (Donoho's robust estimate, 1994).
    """
    response = convolve(metrics.luma(pixels), _IMMERKAER, mode="mirror")[region]
    return float(np.median(np.abs(response)) / (0.6745 * 6))


def noise_gain(before: np.ndarray, after: np.ndarray) -> float | None:
    """Noise in the dark region of ``before``, after over before; None where that region is under 400 px.

    Both are taken as at least what rounding to 8 bits adds, else a denoised photo would divide by zero.
    """
    region = dark_region(before)
    if int(region.sum()) < LEAST_DARK:
        return None
    noise = [max(QUANTISATION, noise_std(pixels, region)) for pixels in (before, after)]
    return noise[1] / noise[0]


def dark_lift(before: np.ndarray, after: np.ndarray) -> float | None:
    """Mean luma of the dark region of ``before``, after over before: what a mere gain does to noise too."""
    region = dark_region(before)
    if int(region.sum()) < LEAST_DARK:
        return None
    return float(metrics.luma(after)[region].mean() / metrics.luma(before)[region].mean())
