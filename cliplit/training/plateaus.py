"""Drawn pictures of two plane areas that meet in an edge: what a network must not paint halos into."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Plateaus(NamedTuple):
    """Pictures B3HW, sRGB-coded 0..1, and 1.0 where they show the brighter of their two areas, B1HW."""

    image: Tensor
    bright: Tensor


def draw_plateaus(count: int, side: int, seed: int) -> Plateaus:
    """``count`` pictures of ``side`` px: a straight edge or a curved one, two levels, a tint, a little grain.

    The darker level lies in 0.02..0.32, the brighter at least 0.15 above it. Equal seeds give equal pictures.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, 1, 1, generator=generator)

    rows, columns = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    angle = uniform(0, 2 * math.pi, 1)
    straight = columns * angle.cos() + rows * angle.sin() - uniform(-0.5, 0.5, 1)
    coarse = torch.randn(count, 1, 3, 3, generator=generator)
    curved = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    bright = (torch.where(uniform(0, 1, 1) < 0.5, straight, curved) > 0).float()
    dark_level = uniform(0.02, 0.32, 1)
    level = dark_level + bright * (0.15 + (0.83 - dark_level) * uniform(0, 1, 1))
    image = level * uniform(0.9, 1.1, 3)
    grain = uniform(0, 0.03, 1) * torch.randn(count, 1, side, side, generator=generator)
    return Plateaus((image + grain * (image + 0.1)).clamp(0, 1), bright)
