"""The grid network's pass for a GPU, where photos are tensors: eager, or compiled by ``torch.compile``.

``grid.illumination`` slices by ``grid_sample``, which no compiler merges with what comes before and after; here its
eight corners are looked up one by one, so that few kernels remain, and none reads or writes a grid of coordinates. The
result is the same but for rounding.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cliplit.networks.denoise import calm_shadows
from cliplit.networks.gain import apply_illumination, guide_of
from cliplit.networks.grid import LEAST_LOG_GAIN


def relight_tensor(
    images_B3HW: Tensor,
    grid_BKhw: Tensor,
    most_log_gain: float,
    strength: float,
    noise: float = 0.0,
    compiled: bool = False,
) -> Tensor:
    """``images`` (uint8, or floating point in 0..1) relit by their grids, as the same type, on their device.

    Where ``noise`` is above 0, shadows are calmed before they are lifted. ``compiled`` needs what torch.compile needs
    and takes seconds the first time, but not again for other sizes, strengths or noise.
    """
    full = 255.0 if images_B3HW.dtype == torch.uint8 else 1.0
    numbers = torch.tensor([strength, noise], device=images_B3HW.device)  # as constants they would be compiled in
    run = _compiled() if compiled else _pass
    result: Tensor = run(images_B3HW, grid_BKhw, numbers, most_log_gain, full, noise > 0)
    return result


@cache
def _compiled() -> Any:
    return torch.compile(_pass, dynamic=True, fullgraph=True)


def _pass(
    images_B3HW: Tensor, grid_BKhw: Tensor, numbers: Tensor, most_log_gain: float, full: float, calm: bool
) -> Tensor:
    strength, noise = numbers
    image = images_B3HW.float() / full
    log_gain = _slice(guide_of(image)[:, 0], grid_BKhw).clamp(LEAST_LOG_GAIN, most_log_gain)
    light = torch.exp(-log_gain * strength)[:, None]
    if calm:
        image = calm_shadows(image, 1 / light, noise)
    relit = apply_illumination(image, light)
    return (relit * full + (0.5 if full > 1 else 0)).to(images_B3HW.dtype)


def _slice(guide_BHW: Tensor, grid_BKhw: Tensor) -> Tensor:
    """Trilinear, as ``grid.illumination`` places knots and cells."""
    count, height, width = guide_BHW.shape
    _, knots, rows, columns = grid_BKhw.shape
    ends = (
        _neighbours(guide_BHW.clamp(0, 1) * (knots - 1), knots),
        _neighbours(_places(height, rows, guide_BHW)[:, None], rows),
        _neighbours(_places(width, columns, guide_BHW), columns),
    )
    photo = torch.arange(count, device=guide_BHW.device)[:, None, None]
    total = torch.zeros_like(guide_BHW)
    for (knot, by_knot), (row, by_row), (column, by_column) in product(*ends):
        total = total + grid_BKhw[photo, knot, row, column] * (by_knot * by_row * by_column)
    return total


def _places(length: int, cells: int, like: Tensor) -> Tensor:
    """Where the centres of ``length`` pixels lie among the centres of ``cells``."""
    centres = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    return (centres * (cells / length) - 0.5).clamp(0, cells - 1)


def _neighbours(place: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two indices beside a place, each with its weight."""
    before = place.floor()
    part = place - before
    index = before.long()
    return (index, 1 - part), ((index + 1).clamp(max=size - 1), part)
