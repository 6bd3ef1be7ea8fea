"""The paper's network on photos of any size: piece by piece in constant memory, to the same map as in one piece.

A pixel's light depends on the REACH pixels around it and on pooled means of the whole photo. So two passes do: the
first adds up the means, the second computes the map of each tile from the tile and its surroundings. Nothing is
blended, and no seam can be, because neighbours agree to rounding. Small tiles are also fast: their features stay in the
processor's cache, and in memory that is used again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cliplit.networks.unet import BINS, REACH, REACH_OF_POOLED, Ends, UNet

#: px; larger tiles waste less on surroundings, smaller ones fit into a processor's cache.
TILE, GPU_TILE = 192, 1024
#: Gives the part (rows, columns) of a photo as 1x3xhxw in 0..1.
Reader = Callable[[slice, slice], Tensor]


def illumination_bands(
    network: UNet, read: Reader, height: int, width: int, tile: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """The map of a photo of ``height`` x ``width`` (at least 32 x 32 px) from top to bottom: rows, and 1x1xhxW of them.

    ``read`` is asked for every part of the photo twice. Equal to the network on the whole photo but for rounding.
    """
    if tile is None:
        tile = TILE if next(network.parameters()).device.type == "cpu" else GPU_TILE
    parts = network.pyramid.parts(pooled_means(network, read, height, width, tile))
    for rows in pieces(height, tile):
        maps = [_map(network, read, parts, rows, columns, (height, width)) for columns in pieces(width, tile)]
        yield rows, torch.cat(maps, dim=3)


def pooled_means(network: UNet, read: Reader, height: int, width: int, tile: int = TILE) -> list[Tensor]:
    """The means (1 x 32 x b x b for b in BINS) of the features that the network pools, over the whole photo."""
    sums = [torch.zeros(1, 32, bins, bins, dtype=torch.float64) for bins in BINS]
    for rows, columns in product(pieces(height, tile), pieces(width, tile)):
        image, ends, inside = _surrounded(read, rows, columns, (height, width), REACH_OF_POOLED)
        features = network.before_pooling(image, ends)[inside]
        for total, bins in zip(sums, BINS, strict=True):
            for i, j in product(range(bins), range(bins)):
                part = features[..., _common(rows, _bin(i, bins, height)), _common(columns, _bin(j, bins, width))]
                if part.numel():
                    total[..., i, j] += part.sum((2, 3)).double().cpu()
    device = next(network.parameters()).device
    return [total.div_(_areas(total.shape[-1], height, width)).float().to(device) for total in sums]


def pieces(length: int, tile: int = TILE) -> list[slice]:
    """``length`` cut into equal pieces of at most ``tile``."""
    count = math.ceil(length / tile)
    cuts = [round(i * length / count) for i in range(count + 1)]
    return [slice(*pair) for pair in zip(cuts, cuts[1:], strict=False)]


def _map(
    network: UNet, read: Reader, parts: list[Tensor], rows: slice, columns: slice, size: tuple[int, int]
) -> Tensor:
    image, ends, inside = _surrounded(read, rows, columns, size, REACH)
    features = network.before_pooling(image, ends)
    top, left = (_start(each, REACH - REACH_OF_POOLED) for each in (rows, columns))
    where_rows = torch.arange(top, top + features.shape[-2], device=features.device)
    where_columns = torch.arange(left, left + features.shape[-1], device=features.device)
    spread = torch.cat([_spread(part, where_rows, where_columns, size) for part in parts], dim=1)
    joined = network.pyramid.join(features, spread.contiguous(memory_format=torch.channels_last), ends)
    return network.after_pooling(joined, ends)[inside]


def _surrounded(
    read: Reader, rows: slice, columns: slice, size: tuple[int, int], reach: int
) -> tuple[Tensor, Ends, tuple[Any, ...]]:
    """A tile with ``reach`` pixels around it as far as the photo goes, where it ends, and the tile in the result."""
    height, width = size
    top, left = _start(rows, reach), _start(columns, reach)
    bottom, right = min(height, rows.stop + reach), min(width, columns.stop + reach)
    ends = (int(left == 0), int(right == width), int(top == 0), int(bottom == height))
    image = read(slice(top, bottom), slice(left, right)).contiguous(memory_format=torch.channels_last)
    first_row, first_column = (0 if ends[2] else top + reach), (0 if ends[0] else left + reach)
    inside = (
        ...,
        slice(rows.start - first_row, rows.stop - first_row),
        slice(columns.start - first_column, columns.stop - first_column),
    )
    return image, ends, inside


def _start(piece: slice, reach: int) -> int:
    return max(0, int(piece.start) - reach)


def _bin(index: int, bins: int, length: int) -> slice:
    """The pixels of a bin, as adaptive pooling cuts them."""
    return slice(index * length // bins, -(-(index + 1) * length // bins))


def _common(piece: slice, other: slice) -> slice:
    """What both have, counted from the start of ``piece``."""
    start = max(piece.start, other.start)
    return slice(start - piece.start, max(start, min(piece.stop, other.stop)) - piece.start)


def _areas(bins: int, height: int, width: int) -> Tensor:
    """Pixels of each bin."""
    rows, columns = (
        torch.tensor([_bin(i, bins, n).stop - _bin(i, bins, n).start for i in range(bins)]) for n in (height, width)
    )
    return rows[:, None].double() * columns[None, :]


def _spread(part: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """``part`` (1 x C x b x b) at these pixels, spread bilinearly over the photo with its corners on the photo's."""
    down, across = (_hats(where, length, part.shape[-1]) for where, length in zip((rows, columns), size, strict=True))
    return torch.einsum("hi,ncij,wj->nchw", down, part, across)


def _hats(where: Tensor, length: int, bins: int) -> Tensor:
    """Weights (pixels x bins) of linear interpolation: 1 at a bin's own place, 0 from the next on."""
    place = where.float() * ((bins - 1) / (length - 1))
    return (1 - (place[:, None] - torch.arange(bins, device=where.device)).abs()).clamp_min(0)
