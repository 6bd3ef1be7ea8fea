"""Which crops training looks at: a pure function of (seed, step), so that a resumed run draws the same ones.

Backlight is seen in the composition, so a crop keeps most of the frame: a window over 50 to 100 % of the photo's area,
brought to a square with antialiasing. Flips, transposition and zoom are the reference's (method: p = .5, .5, .3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

SMALLEST_AREA = 0.5
_ASPECT = 1.15
_ZOOM = (0.7, 1.3)


@dataclass(frozen=True)
class Crop:
    """A window in fractions of the photo's height and width (it may reach outside: reflected), and its turning."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0
    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False


WHOLE = Crop()


def draw_crop(rng: np.random.Generator) -> Crop:
    """One random crop."""
    area, stretch = rng.uniform(SMALLEST_AREA, 1.0), _ASPECT ** rng.uniform(-1, 1)
    height, width = min(1.0, float(np.sqrt(area * stretch))), min(1.0, float(np.sqrt(area / stretch)))
    zoom = rng.uniform(*_ZOOM) if rng.random() < 0.3 else 1.0
    height, width = height / zoom, width / zoom
    top, left = rng.random(2) * (1 - np.array([height, width]))
    flips = rng.random(3) < 0.5
    values = (float(top), float(left), float(height), float(width))
    return Crop(*values, bool(flips[0]), bool(flips[1]), bool(flips[2]))


def draw_crops(seed: int, stream: str, step: int, count: int) -> list[Crop]:
    """``count`` random crops of step ``step``; streams of other names are independent."""
    rng = _generator(seed, stream, step)
    return [draw_crop(rng) for _ in range(count)]


def draw_indices(seed: int, stream: str, step: int, count: int, population: int) -> list[int]:
    """The step's ``count`` numbers below ``population``: every number comes once before any comes again."""
    indices: list[int] = []
    position = step * count
    while len(indices) < count:
        epoch, offset = divmod(position + len(indices), population)
        order = _generator(seed, stream, epoch).permutation(population)
        indices += order[offset : offset + count - len(indices)].tolist()
    return indices


def cut(pixels: np.ndarray, crop: Crop, side: int) -> np.ndarray:
    """The crop of ``pixels`` (HxWx3 uint8) as side x side x 3 uint8; small photos are enlarged."""
    height, width = pixels.shape[:2]
    top, bottom = crop.top * height, (crop.top + crop.height) * height
    left, right = crop.left * width, (crop.left + crop.width) * width
    before = (max(0, int(np.ceil(-top))), max(0, int(np.ceil(-left))))
    after = (max(0, int(np.ceil(bottom - height))), max(0, int(np.ceil(right - width))))
    if any(before) or any(after):
        pixels = np.pad(pixels, ((before[0], after[0]), (before[1], after[1]), (0, 0)), mode="reflect")
    box = (left + before[1], top + before[0], right + before[1], bottom + before[0])
    limits = (pixels.shape[1], pixels.shape[0]) * 2
    inside = tuple(min(max(0.0, value), float(limit)) for value, limit in zip(box, limits, strict=True))
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, box=inside)
    result = np.asarray(image)
    if crop.flip_rows:
        result = result[::-1]
    if crop.flip_columns:
        result = result[:, ::-1]
    return np.ascontiguousarray(result.transpose(1, 0, 2) if crop.transpose else result)


def to_tensor(images: list[np.ndarray], device: torch.device | str) -> torch.Tensor:
    """uint8 HxWx3 images of one size as BCHW in 0..1 on ``device``."""
    stacked = torch.from_numpy(np.stack(images)).to(device)
    return stacked.permute(0, 3, 1, 2).float().div(255).contiguous()


def seed_of(seed: int, stream: str, number: int) -> int:
    """A seed for other generators, another one for each stream and number."""
    return int(_generator(seed, stream, number).integers(2**62))


def _generator(seed: int, stream: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, *stream.encode()])
