"""Clips to measure on, rendered here: a pan over a demo scene, and photos shown as slides by an uneasy camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from cliplit.photos.demo import render_photo


def panning(frames: int, size: tuple[int, int], seed: int = 0, noise: float = 1.5) -> Iterator[np.ndarray]:
    """A camera that pans over one backlit scene, to and fro: ``frames`` of size (width, height) x 3, uint8.

    ``noise`` is the sensor's, in levels.
    """
    width, height = size
    rng = np.random.default_rng([seed, 7])
    scene = _enlarged(render_photo("backlit", seed, 0), int(width * 1.8), int(height * 1.25))
    for index in range(frames):
        across = 0.5 - 0.5 * np.cos(2 * np.pi * index / 160)
        left = round(across * (scene.shape[1] - width))
        top = round((0.5 + 0.5 * np.sin(2 * np.pi * index / 110)) * (scene.shape[0] - height))
        yield _noisy(scene[top : top + height, left : left + width].astype(np.float32), noise, rng)


def slideshow(
    photos: list[np.ndarray],
    frames: int,
    size: tuple[int, int],
    seed: int = 0,
    noise: float = 3.0,
    wobble: float = 0.03,
) -> Iterator[np.ndarray]:
    """``photos`` one after the other with hard cuts, each slowly enlarged, with ``noise`` and an exposure that wobbles.

    ``frames`` of size (width, height) x 3, uint8. ``noise`` is in levels, ``wobble`` a share of the exposure.
    """
    width, height = size
    rng = np.random.default_rng([seed, 8])
    each = -(-frames // len(photos))
    scenes = [_enlarged(photo, int(width * 1.3), int(height * 1.3)) for photo in photos]
    for index in range(frames):
        scene = scenes[index // each]
        part = 1 - 0.2 * (index % each) / each
        shown_width, shown_height = int(scene.shape[1] * part), int(scene.shape[0] * part)
        left, top = (scene.shape[1] - shown_width) // 2, (scene.shape[0] - shown_height) // 2
        shown = Image.fromarray(scene[top : top + shown_height, left : left + shown_width])
        exposure = 1 + wobble * np.sin(index * 2.1) + rng.normal(0, wobble / 2)
        frame = np.asarray(shown.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        yield _noisy(frame * exposure, noise, rng)


def _enlarged(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    """``photo`` filling ``width`` x ``height``, its own shape kept as far as it covers them."""
    scale = max(width / photo.shape[1], height / photo.shape[0])
    size = max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def _noisy(frame: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    plane = rng.standard_normal((frame.shape[0], frame.shape[1], 1), dtype=np.float32)
    result: np.ndarray = (frame + noise * plane).clip(0, 255).round().astype(np.uint8)
    return result
