"""Three operations of the networks, written so that an exported graph computes them at any size.

Exporters write sizes down as constants where PyTorch's own operations need them: pooling into parts, thumbnails and
linspace. And onnxruntime's antialiased Resize leaves out taps at the border of its filter for some sizes (a thumbnail
is off by up to 0.04 there). As matrices over index arithmetic all three follow the size, and agree to 1e-6.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SizesStayOpen(TorchFunctionMode):
    """While active, adaptive_avg_pool2d, antialiased interpolate and linspace are those of this module."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.adaptive_avg_pool2d:
            return pool_into_parts(*args, **kwargs)
        if func is F.interpolate and kwargs.get("antialias"):
            return resize_antialiased(args[0], kwargs["size"])
        if func is torch.linspace:
            return linspace(*args, **kwargs)
        return func(*args, **kwargs)


def pool_into_parts(features_BCHW: Tensor, bins: int) -> Tensor:
    """Means over bins x bins parts, B x C x bins x bins; of n rows, part k is floor(k·n/bins)..ceil((k+1)·n/bins)."""

    def weights(length: int) -> Tensor:
        part = torch.arange(bins, device=features_BCHW.device)[:, None]
        index = torch.arange(length, device=features_BCHW.device)[None]
        inside = (index >= (part * length) // bins) & (index < ((part + 1) * length + bins - 1) // bins)
        return _rows_add_up_to_one(inside.to(features_BCHW.dtype))

    return weights(features_BCHW.shape[-2]) @ features_BCHW @ weights(features_BCHW.shape[-1]).T


def resize_antialiased(image_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """F.interpolate(mode="bilinear", antialias=True) to ``size``: a triangle as wide as a pixel of the smaller grid."""

    def weights(length: int, wanted: int) -> Tensor:
        scale = torch.arange(length, device=image_BCHW.device).shape[0] / wanted
        centre = (torch.arange(wanted, device=image_BCHW.device, dtype=image_BCHW.dtype)[:, None] + 0.5) * scale
        index = torch.arange(length, device=image_BCHW.device, dtype=image_BCHW.dtype)[None] + 0.5
        reach = (torch.zeros_like(centre) + scale).clamp_min(1)  # enlarging interpolates between neighbours
        return _rows_add_up_to_one((1 - (index - centre).abs() / reach).clamp_min(0))

    # Columns first: for a photo most of the work is there, and it runs along memory.
    narrow = image_BCHW @ weights(image_BCHW.shape[-1], size[1]).T
    return weights(image_BCHW.shape[-2], size[0]) @ narrow


def linspace(start: float, end: float, steps: int, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """torch.linspace for two or more steps."""
    index = torch.arange(steps, dtype=dtype or torch.float32, device=device)
    return start + index * ((end - start) / (steps - 1))


def _rows_add_up_to_one(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True)
