"""Enhancer: load a trained network and relight photos with it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cliplit.errors import UserError
from cliplit.networks import load_network
from cliplit.networks.gain import apply_illumination
from cliplit.photos.codecs import Photo

CHAMPION = "champion"
#: The network that comes with cliplit; its model card lies beside it.
SHIPPED = Path(__file__).parent / "weights" / "grid.safetensors"
LEAST = 32  # px; narrower photos are continued by their edge, because networks pad by reflection
TILE = 768
OVERLAP = 64  # twice what the unet sees around a pixel (17 px), so that tiles agree where they are blended


class Enhancer:
    """Relights photos with one trained network; holds no state between photos, so every photo stands for itself."""

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu", tiled: bool = False) -> None:
        self.device = torch.device(device)
        self.tiled = tiled  # the unet computes at full resolution, so its memory grows with the photo
        self.network = network.to(self.device).eval()

    @classmethod
    def load(cls, source: Path | str = CHAMPION, device: str = "auto", project: Path = Path()) -> Enhancer:
        """The network in the file ``source``, or the champion of ``project``; raises UserError with the fix.

        Where no champion reigns, it is the network that comes with cliplit (see ``weights_file``).
        """
        path = weights_file(source, project)
        if not path.is_file():
            raise UserError(f"{path}: there is no such weights file; train first, or pass --weights FILE")
        chosen = pick_device(device)
        network, config = load_network(path, chosen)
        return cls(network, chosen, tiled=config.kind == "unet")

    def enhance(self, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Relight ``pixels`` (H x W x 3, uint8, sRGB-coded); strength 0 changes nothing, 1 is what was learned.

        Returns a new array of the same shape and type. Raises ValueError for any other input.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"expected H x W x 3 pixels of uint8, got {pixels.dtype} of shape {pixels.shape}")
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"strength must be 0 or more, got {strength}")
        if strength == 0:
            return pixels.copy()
        with torch.inference_mode():
            image = torch.from_numpy(np.array(pixels, order="C")).to(self.device).permute(2, 0, 1)[None].float() / 255
            illumination = self.illumination(image)
            enhanced = apply_illumination(image, illumination, strength)
            result: np.ndarray = enhanced[0].mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(result)

    def enhance_photo(self, photo: Photo, strength: float = 1.0) -> Photo:
        """``photo`` relit; format, EXIF, ICC profile and path are kept."""
        return replace(photo, pixels=self.enhance(photo.pixels, strength))

    def illumination(self, image_1CHW: torch.Tensor) -> torch.Tensor:
        """The illumination map (1 x 1 x H x W) of one image, in tiles where the network needs much memory a pixel."""
        height, width = image_1CHW.shape[-2:]
        if min(height, width) < LEAST:
            image_1CHW = F.pad(image_1CHW, (0, max(0, LEAST - width), 0, max(0, LEAST - height)), mode="replicate")
        in_tiles = self.tiled and max(image_1CHW.shape[-2:]) > TILE
        result: torch.Tensor = _tiled(self.network, image_1CHW) if in_tiles else self.network(image_1CHW)
        return result[..., :height, :width]


def pick_device(name: str) -> torch.device:
    """The torch device called ``name``; "auto" takes CUDA where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"device '{name}' is not usable here; use auto or cpu") from None
    return device


def weights_file(source: Path | str = CHAMPION, project: Path = Path()) -> Path:
    """Where the weights called ``source`` lie: a file, or for "champion" the champion's, or SHIPPED if none reigns."""
    if str(source) != CHAMPION:
        return Path(source)
    from cliplit.lineage.registry import champion_file  # here, because it brings mlflow along, which takes seconds

    return champion_file(project) or SHIPPED


def _tiled(network: nn.Module, image_1CHW: torch.Tensor) -> torch.Tensor:
    """The map from overlapping tiles, blended linearly; each pixel's weights add up to one."""
    height, width = image_1CHW.shape[-2:]
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


def _ramp(length: int, like: torch.Tensor) -> torch.Tensor:
    """1 inside a tile, falling to almost 0 over the overlap at either end."""
    position = torch.arange(length, device=like.device, dtype=like.dtype)
    edge = torch.minimum(position, length - 1 - position) + 1
    return (edge / OVERLAP).clamp(max=1)
