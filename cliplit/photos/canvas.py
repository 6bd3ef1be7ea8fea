"""The painter's tools of the simulator: a canvas of albedo and light, soft shapes and natural noise.

A scene is albedo (0..1, with the shading that gives things their form) times light (linear, 1 = daylight on a white
wall). Keeping both apart is what lets a paired scene be relit exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float32]
Colour = tuple[float, float, float]


def smoothstep(values: Any, low: Any, high: Any) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between; ``low`` > ``high`` turns it round."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    result: Array = (t * t * (3 - 2 * t)).astype(np.float32)
    return result


def noise(
    rng: np.random.Generator, shape: tuple[int, int], beta: float, stretch: tuple[float, float] = (1, 1)
) -> Array:
    """Noise in 0..1 with a power spectrum of 1/f**beta; ``stretch`` > 1 draws it out along (x, y)."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape).astype(np.float32))
    down = np.fft.fftfreq(shape[0])[:, None] * stretch[1]
    right = np.fft.rfftfreq(shape[1])[None, :] * stretch[0]
    frequency = np.hypot(down, right)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum * np.maximum(frequency, 1 / max(shape)) ** (-beta / 2), s=shape)
    spread = field.std() or 1.0
    result: Array = np.clip(0.5 + field / (5 * spread), 0, 1).astype(np.float32)
    return result


def ridge(rng: np.random.Generator, width: int, roughness: float) -> Array:
    """A skyline: one noise value in 0..1 for each column; ``roughness`` near 0 is smooth, near 1 jagged."""
    return noise(rng, (2, width), 3.6 - 2.0 * roughness, (1.0, 0.0))[0]


@dataclass
class Canvas:
    """HxW pixels to paint on, back to front; ``x`` and ``y`` run from 0, in units of the long side."""

    height: int
    width: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        side = max(self.height, self.width)
        self.pixel = np.float32(1 / side)
        rows, columns = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        self.x: Array = (columns + np.float32(0.5)) / np.float32(side)
        self.y: Array = (rows + np.float32(0.5)) / np.float32(side)
        self.right, self.bottom = self.width / side, self.height / side
        self.albedo: Array = np.zeros((self.height, self.width, 3), np.float32)
        self.light: Array = np.ones((self.height, self.width, 3), np.float32)

    def paint(self, mask: Any, albedo: Any, light: Any) -> None:
        """Lay albedo and light (numbers, colours, HxW or HxWx3 arrays) over the canvas where ``mask`` (HxW) is."""
        cover = np.asarray(mask, np.float32)[..., None]
        for plane, value in ((self.albedo, albedo), (self.light, light)):
            plane += cover * (self._planes(value) - plane)

    def noise(self, beta: float, stretch: tuple[float, float] = (1, 1)) -> Array:
        """Noise of the canvas's size; see ``noise``."""
        return noise(self.rng, (self.height, self.width), beta, stretch)

    def box(self, left: float, top: float, right: float, bottom: float) -> Array:
        """Mask of an upright rectangle with soft edges."""
        outside = np.maximum(np.maximum(left - self.x, self.x - right), np.maximum(top - self.y, self.y - bottom))
        return smoothstep(-outside, -self.pixel, self.pixel)

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Array:
        """Mask of an ellipse with soft edges."""
        distance = np.hypot((self.x - x) / rx, (self.y - y) / ry)
        return smoothstep((1 - distance) * min(rx, ry), -self.pixel, self.pixel)

    def below(self, line: Any) -> Array:
        """Mask of everything below ``line`` (a height, or one for each column)."""
        return smoothstep(self.y - line, -self.pixel, self.pixel)

    def glow(self, x: float, y: float, radius: float) -> Array:
        """Light around a point: 1 there, a half at ``radius``, never quite 0."""
        squared = ((self.x - x) ** 2 + (self.y - y) ** 2).astype(np.float32) / np.float32(radius * radius)
        result: Array = (1 / (1 + squared)).astype(np.float32)
        return result

    def stroke(self, start: tuple[float, float], end: tuple[float, float], wide: float, thin: float) -> Array:
        """Mask of a straight stroke that narrows from ``wide`` to ``thin`` (half widths)."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = ((self.x - start[0]) * dx + (self.y - start[1]) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        distance = np.hypot(self.x - start[0] - along * dx, self.y - start[1] - along * dy)
        return smoothstep(wide + (thin - wide) * along - distance, -self.pixel, self.pixel)

    def defocus(self, sigma: float) -> None:
        """Blur what is painted so far by ``sigma`` pixels, as a lens does that is focused on what comes next."""
        self.light = gaussian_filter(self.albedo * self.light, (sigma, sigma, 0))
        self.albedo = gaussian_filter(self.albedo, (sigma, sigma, 0))
        self.light /= np.maximum(self.albedo, 1e-3)

    def radiance(self, compress: float = 1.0) -> Array:
        """Linear radiance HxWx3; ``compress`` < 1 relights the scene, as its light to that power."""
        light = self.light if compress == 1.0 else np.maximum(self.light, 1e-4) ** np.float32(compress)
        result: Array = self.albedo * light
        return result

    def _planes(self, value: Any) -> Array:
        array = np.asarray(value, np.float32)
        return array[..., None] if array.ndim == 2 else array


def tint(rng: np.random.Generator, colour: Colour, amount: float = 0.06) -> Array:
    """``colour`` varied a little, still in 0..1."""
    varied = np.array(colour, np.float32) * np.exp(rng.normal(0, amount * 2) + rng.normal(0, amount * 1.6, 3))
    result: Array = np.clip(varied, 0.01, 0.95).astype(np.float32)
    return result


def mixed(low: Any, high: Any, amount: Array) -> Array:
    """Colours between ``low`` and ``high``, HxWx3, by ``amount`` HxW."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    result: Array = low + (high - low) * amount[..., None]
    return result


def pick(rng: np.random.Generator, options: Any) -> Any:
    """One of ``options``."""
    return options[int(rng.integers(len(options)))]
