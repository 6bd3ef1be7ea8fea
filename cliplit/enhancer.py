"""Enhancer: load a trained network and relight photos with it, whatever kind of object they are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cliplit.errors import UserError
from cliplit.networks import load_network, passes
from cliplit.networks.denoise import noise_level
from cliplit.networks.grid import GridNetwork
from cliplit.networks.tiles import TILE, illumination_bands
from cliplit.networks.unet import UNet
from cliplit.photos.codecs import Photo, read_photo
from cliplit.photos.kinds import RelitPhoto, as_batch, from_pillow, from_tensor, to_pillow, to_tensor
from cliplit.photos.profiles import working_space

CHAMPION = "champion"
_WEIGHTS = Path(__file__).parent / "weights"
#: The network that comes with cliplit; its model card lies beside it.
SHIPPED = _WEIGHTS / "grid.safetensors"
LEAST = 32  # px; narrower photos are continued by their edge, because the unet pads by reflection
_ALIAS = re.compile(r"(?P<name>[\w.-]+)@(?P<alias>[\w.-]+)")


class Enhancer:
    """Relights photos with one trained network.

    It holds no state between photos, so every photo stands for itself and threads may share one.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        compiled: bool = False,
        denoise: bool = True,
    ) -> None:
        self.device = torch.device(device)
        self.compiled = compiled
        self.denoise = denoise
        self.network = network.to(self.device).eval()

    @classmethod
    def load(
        cls,
        source: Path | str = CHAMPION,
        device: str = "auto",
        project: Path = Path(),
        network: str | None = None,
        compiled: bool = False,
        denoise: bool = True,
    ) -> Enhancer:
        """The network in the file ``source``, or the one that ``project`` registered as "champion" or NAME@ALIAS.

        Where no champion reigns, it is the network that comes with cliplit. ``network`` ("grid", the fast one, or
        "unet", the paper's) asks for the one of that kind that comes with cliplit instead of the champion.
        ``compiled`` is for many tensors on a GPU: torch.compile, some seconds at the first. ``denoise`` calms shadows
        before they are lifted (see networks/denoise.py). Raises UserError with the fix.
        """
        path = weights_file(source, project, network)
        if not path.is_file():
            raise UserError(f"{path}: there is no such weights file; train first, or pass --weights FILE")
        chosen = pick_device(device)
        loaded, config = load_network(path, chosen)
        if network is not None and config.kind != network:
            raise UserError(f"{path}: this is a network of kind {config.kind}, not {network}; leave the kind out")
        return cls(loaded, chosen, compiled, denoise)

    @overload
    def __call__(self, photo: str | Path, strength: float = 1.0) -> RelitPhoto: ...
    @overload
    def __call__(self, photo: Photo, strength: float = 1.0) -> Photo: ...
    @overload
    def __call__(self, photo: Image.Image, strength: float = 1.0) -> Image.Image: ...
    @overload
    def __call__(self, photo: np.ndarray, strength: float = 1.0) -> np.ndarray: ...
    @overload
    def __call__(self, photo: Tensor, strength: float = 1.0) -> Tensor: ...
    def __call__(self, photo: Any, strength: float = 1.0) -> Any:
        """Relight ``photo`` and return the same kind: a Photo, a Pillow image, an array or a torch tensor.

        A path (str or Path) is read, and what comes back has ``save(path, overwrite=False)``. Arrays are as for
        ``enhance``. Tensors are 3HW or B3HW, uint8 or floating point in 0..1, on any device; no gradient flows.
        ``strength`` 0 changes nothing, 1 is what was learned, up to 1.5 is sensible. Raises PhotoError for a file that
        cannot be read, ValueError for pixels or a strength that make no sense, TypeError for another kind of object.
        """
        if isinstance(photo, str | Path):
            return RelitPhoto.of(self.enhance_photo(read_photo(photo), strength))
        if isinstance(photo, Photo):
            return self.enhance_photo(photo, strength)
        if isinstance(photo, Image.Image):
            return to_pillow(self.enhance(from_pillow(photo), strength), photo)
        if isinstance(photo, np.ndarray):
            return self.enhance(photo, strength)
        if isinstance(photo, Tensor):
            return self._enhance_tensor(photo, strength)
        raise TypeError(f"expected a path, Photo, Pillow image, array or tensor, got {type(photo).__name__}")

    def batch(self, photos: Sequence[Any], strength: float = 1.0) -> list[Any]:
        """Each of ``photos`` relit as by calling the enhancer, in order; they may differ in size and kind."""
        return [self(photo, strength) for photo in photos]

    def enhance(self, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Relight ``pixels`` (H x W x 3, sRGB-coded: uint8, uint16, or float32 in 0..1).

        Returns a new array of the same shape and type; ``strength`` 0 changes nothing, 1 is what was learned. Raises
        ValueError for any other input.
        """
        _check(pixels, strength)
        if strength == 0:
            return pixels.copy()
        if isinstance(self.network, GridNetwork):
            return self.apply(pixels, self.predict(pixels), strength)
        with torch.inference_mode():
            if isinstance(self.network, UNet) and min(pixels.shape[:2]) >= LEAST and max(pixels.shape[:2]) > TILE:
                return self._in_bands(self.network, pixels, strength)
            light = self.illumination(passes.to_image(pixels, self.device))
            return passes.relight_by_map(pixels, light, strength, self._noise(pixels))

    def _in_bands(self, network: UNet, pixels: np.ndarray, strength: float) -> np.ndarray:
        """As ``enhance``, with memory for the result and for a band of the photo only."""
        result = np.empty_like(pixels)
        noise = self._noise(pixels)

        def read(rows: slice, columns: slice) -> Tensor:
            return passes.to_image(pixels[rows, columns], self.device)

        for rows, light in illumination_bands(network, read, *pixels.shape[:2]):
            top, bottom = max(0, rows.start - 1), min(len(pixels), rows.stop + 1)  # calming looks one pixel around
            around = F.pad(light, (0, 0, rows.start - top, bottom - rows.stop), mode="replicate")
            relit = passes.relight_by_map(pixels[top:bottom], around, strength, noise)
            result[rows] = relit[rows.start - top : rows.stop - top]
        return result

    def enhance_photo(self, photo: Photo, strength: float = 1.0) -> Photo:
        """``photo`` relit; everything but its pixels is kept.

        Scene-linear photos: see networks/hdr.py; those in a profile far from sRGB's curve: see photos/profiles.py.
        """
        space = working_space(photo.icc) if strength != 0 and not photo.linear else None
        if space is not None:
            relit = self.enhance(space.enter(photo.pixels), strength)
            return replace(photo, pixels=space.leave(relit, photo.pixels.dtype))
        if not photo.linear or strength == 0:
            return replace(photo, pixels=self.enhance(photo.pixels, strength))
        from cliplit.networks import hdr

        relit = self.enhance(hdr.coded_view(photo.pixels), strength)
        return replace(photo, pixels=hdr.to_light(relit, photo.pixels))

    def _enhance_tensor(self, images: Tensor, strength: float) -> Tensor:
        """Where the network is on a GPU, the images never leave it."""
        if self.device.type == "cpu" or not isinstance(self.network, GridNetwork) or strength == 0:
            return to_tensor([self.enhance(pixels, strength) for pixels in from_tensor(images)], images)
        _check_strength(strength)
        relit = passes.relight_images(
            self.network, as_batch(images).to(self.device), strength, self.compiled, self.denoise
        )
        return relit.reshape(images.shape).to(images.device)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """The grid of log-gains of ``pixels``, KNOTS x CELLS x CELLS float32, for ``apply``; see networks/grid.py.

        Raises ValueError for pixels that ``enhance`` refuses, and for a network other than the grid network.
        """
        _check(pixels)
        return passes.predict_grid(self._grid_network(), pixels, self.device)

    def apply(self, pixels: np.ndarray, grid: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """``pixels`` relit by a ``grid`` that ``predict`` gave, of this photo or of a frame beside it; as ``enhance``.

        Raises ValueError as ``predict`` does.
        """
        _check(pixels, strength)
        if strength == 0:
            return pixels.copy()
        most = self._grid_network().most_log_gain
        return passes.relight(pixels, grid, most, strength, self.device, self._noise(pixels))

    def illumination(self, image_1CHW: Tensor) -> Tensor:
        """The illumination map (1 x 1 x H x W) of one image."""
        height, width = image_1CHW.shape[-2:]
        if min(height, width) < LEAST:
            image_1CHW = F.pad(image_1CHW, (0, max(0, LEAST - width), 0, max(0, LEAST - height)), mode="replicate")
        result: Tensor = self.network(image_1CHW)
        return result[..., :height, :width]

    def _noise(self, pixels: np.ndarray) -> float:
        """What ``passes`` take for the noise of the shadows; 0 leaves it where it is."""
        return noise_level(pixels) if self.denoise else 0.0

    def _grid_network(self) -> GridNetwork:
        if not isinstance(self.network, GridNetwork):
            raise ValueError("only the grid network predicts a grid; use enhance with this one")
        return self.network


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


def weights_file(source: Path | str = CHAMPION, project: Path = Path(), network: str | None = None) -> Path:
    """Where the weights called ``source`` lie, as ``Enhancer.load`` takes it; a file's name always means that file."""
    alias = None if Path(source).is_file() else _ALIAS.fullmatch(str(source))
    if str(source) == CHAMPION and network is not None:
        return shipped(network)
    if str(source) != CHAMPION and alias is None:
        return Path(source)
    from cliplit.lineage import registry, remote  # here, because it brings mlflow along, which takes seconds

    if alias is None:
        return registry.champion_file(project) or remote.published_champion(project) or SHIPPED
    found = registry.alias_file(project, alias["alias"]) if alias["name"] == registry.NAME else None
    if found is None:
        raise UserError(
            f"{source}: neither a weights file nor a registered model; `cliplit models list` says which there are"
        )
    return found


def shipped(network: str) -> Path:
    """The weights of the kind ``network`` that come with cliplit; raises UserError where there are none."""
    if network not in ("grid", "unet"):
        raise UserError(f"network '{network}' is unknown; use grid or unet")
    path = _WEIGHTS / f"{network}.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: this cliplit comes without a trained {network}; use grid, or name a weights file")
    return path


def _check(pixels: np.ndarray, strength: float = 1.0) -> None:
    if pixels.dtype not in (np.uint8, np.uint16, np.float32) or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            f"expected H x W x 3 pixels of uint8, uint16 or float32, got {pixels.dtype} of shape {pixels.shape}"
        )
    if 0 in pixels.shape:
        raise ValueError(f"expected at least one pixel, got the shape {pixels.shape}")
    _check_strength(strength)


def _check_strength(strength: float) -> None:
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"strength must be 0 or more, got {strength}")
