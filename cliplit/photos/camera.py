"""A virtual camera: linear radiance in, an 8-bit sRGB photo out, with noise, flare, clipping and a picture style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cliplit.photos.canvas import Array
from cliplit.photos.profiles import srgb_curve

_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True)
class Camera:
    """Noise, flare and colour of one camera; electrons at full scale, read noise in electrons."""

    full_well: float
    read_noise: float
    flare: float
    vignette: float
    white_balance: tuple[float, float, float]
    contrast: float
    saturation: float

    @classmethod
    def draw(cls, rng: np.random.Generator, clean: bool = False) -> Camera:
        """A random camera; a ``clean`` one has little noise and a true white balance, as for a reference."""
        red, blue = np.exp(rng.normal(0, 0.01 if clean else 0.07, 2))
        wells = (40_000.0, 60_000.0) if clean else (2_500.0, 15_000.0)
        return cls(
            full_well=float(rng.uniform(*wells)),
            read_noise=float(rng.uniform(2, 4) if clean else rng.uniform(3, 9)),
            flare=float(rng.uniform(0.0, 0.004) if clean else rng.uniform(0.002, 0.015)),
            vignette=float(rng.uniform(0.0, 0.2)),
            white_balance=(float(red), 1.0, float(blue)),
            contrast=float(rng.uniform(0.15, 0.3) if clean else rng.uniform(0.1, 0.6)),
            saturation=float(rng.uniform(1.1, 1.2) if clean else rng.uniform(1.0, 1.4)),
        )


def luminance(radiance: Array) -> Array:
    """Relative luminance HxW of linear RGB (Rec. 709)."""
    result: Array = radiance @ _LUMA
    return result


def meter_highlights(radiance: Array, percentile: float) -> float:
    """The exposure that puts a high ``percentile`` of the luminance just below clipping: what backlight does."""
    return 0.9 / max(float(np.percentile(luminance(radiance), percentile)), 1e-6)


def meter_average(radiance: Array, key: float) -> float:
    """The exposure that brings the log-average luminance to ``key``, kept from clipping more than a tenth."""
    light = np.maximum(luminance(radiance), 1e-4)
    wanted = key / float(np.exp(np.log(light).mean(dtype=np.float64)))
    return min(wanted, 1.1 / max(float(np.percentile(light, 90)), 1e-6))


def expose(radiance: Array, exposure: float, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take the photo: uint8 HxWx3, sRGB."""
    height, width = radiance.shape[:2]
    signal = radiance * np.float32(exposure)
    small = gaussian_filter(np.minimum(signal[::4, ::4], 8), (10, 10, 0))
    veil = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)[:height, :width]
    signal = signal + np.float32(camera.flare) * gaussian_filter(veil, (3, 3, 0))
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    signal *= (1 - np.float32(camera.vignette) * (rows**2 + columns**2) / 2)[..., None]
    signal = gaussian_filter(signal, (0.55, 0.55, 0))
    deviation = np.sqrt(np.maximum(signal, 0) * camera.full_well + camera.read_noise**2) / camera.full_well
    signal = signal + deviation.astype(np.float32) * rng.standard_normal(signal.shape).astype(np.float32)
    signal = np.minimum(signal, 1.0) * np.array(camera.white_balance, np.float32)
    grey = luminance(signal)[..., None]
    coded = srgb_curve(grey + (signal - grey) * np.float32(camera.saturation))
    coded += np.float32(camera.contrast) * (coded * coded * (3 - 2 * coded) - coded)
    return (coded * 255 + 0.5).astype(np.uint8)
