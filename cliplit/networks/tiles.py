"""A network of full resolution on a photo of any size: overlapping tiles, blended where they overlap."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn

TILE = 768
OVERLAP = 64  # twice what the unet sees around a pixel (17 px), so that tiles agree where they are blended


def in_tiles(network: nn.Module, image_1CHW: Tensor) -> Tensor:
    """The map of ``network`` from overlapping tiles, blended linearly; each pixel's weights add up to one."""
    height, width = image_1CHW.shape[-2:]
    if max(height, width) <= TILE:
        whole: Tensor = network(image_1CHW)
        return whole
    total = image_1CHW.new_zeros(1, 1, height, width)
    weight = torch.zeros_like(total)
    for top, left in product(_starts(height), _starts(width)):
        tile = image_1CHW[..., top : top + TILE, left : left + TILE]
        ramp = _ramp(tile.shape[-2], tile)[:, None] * _ramp(tile.shape[-1], tile)[None, :]
        total[..., top : top + TILE, left : left + TILE] += network(tile) * ramp
        weight[..., top : top + TILE, left : left + TILE] += ramp
    return total / weight


def _starts(length: int) -> list[int]:
    """Where tiles begin along an axis: equally spaced, the last one ends at the edge, neighbours overlap enough."""
    if length <= TILE:
        return [0]
    count = math.ceil((length - OVERLAP) / (TILE - OVERLAP))
    return [round(i * (length - TILE) / (count - 1)) for i in range(count)]


def _ramp(length: int, like: Tensor) -> Tensor:
    """1 inside a tile, falling to almost 0 over the overlap at either end."""
    position = torch.arange(length, device=like.device, dtype=like.dtype)
    edge = torch.minimum(position, length - 1 - position) + 1
    return (edge / OVERLAP).clamp(max=1)
