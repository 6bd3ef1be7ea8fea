"""What is done at the photo's full size, on the device of the network: compiled loops on a CPU, torch elsewhere.

Numba is imported on first use, because it takes a good part of a second.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cliplit.networks.denoise import calm_shadows, noise_level
from cliplit.networks.fused import relight_tensor
from cliplit.networks.gain import apply_illumination
from cliplit.networks.grid import GridNetwork


def predict_grid(network: GridNetwork, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """The grid of log-gains, KNOTS x CELLS x CELLS float32, of H x W x 3 ``pixels``."""
    with torch.inference_mode():
        if device.type == "cpu":
            from cliplit.networks.thumbnail import thumbnail

            grid = network.predict_from(thumbnail(pixels))
        else:
            grid = network.predict(to_image(pixels, device))
        result: np.ndarray = grid[0].float().cpu().numpy()
    return result


def relight(
    pixels: np.ndarray, grid: np.ndarray, most_log_gain: float, strength: float, device: torch.device, noise: float = 0
) -> np.ndarray:
    """H x W x 3 ``pixels`` relit by a grid of log-gains; a new array of the same shape and type.

    Where ``noise`` is above 0 (see denoise.noise_level), shadows are calmed before they are lifted.
    """
    if device.type == "cpu":
        from cliplit.networks import kernel

        return kernel.relight(pixels, grid, most_log_gain, strength, noise=noise)
    with torch.inference_mode():
        grids = torch.from_numpy(np.ascontiguousarray(grid, np.float32)).to(device)[None]
        relit = relight_tensor(to_image(pixels, device), grids, most_log_gain, strength, noise)
        return to_pixels(relit, pixels.dtype)


def relight_images(
    network: GridNetwork, images_B3HW: Tensor, strength: float, compiled: bool = False, denoise: bool = False
) -> Tensor:
    """Images (uint8, or floating point in 0..1) on the network's device relit there; a tensor of the same type.

    With ``denoise``, shadows are calmed before they are lifted, each image's by its own noise.
    """
    full = 255 if images_B3HW.dtype == torch.uint8 else 1
    with torch.no_grad():  # not inference_mode: what comes back may be used in training
        grids = network.predict(images_B3HW.float() / full)
        most = network.most_log_gain
        if not denoise:
            return relight_tensor(images_B3HW, grids, most, strength, compiled=compiled)
        relit = [
            relight_tensor(image[None], grid[None], most, strength, noise_of(image), compiled)
            for image, grid in zip(images_B3HW, grids, strict=True)
        ]
        return torch.cat(relit)


def noise_of(image_3HW: Tensor) -> float:
    """denoise.noise_level of an image on any device."""
    return noise_level(image_3HW.permute(1, 2, 0).cpu().numpy())


def relight_by_map(pixels: np.ndarray, light_11HW: Tensor, strength: float, noise: float = 0) -> np.ndarray:
    """H x W x 3 ``pixels`` relit by an illumination map, on the map's device; a new array of the same type.

    Where ``noise`` is above 0 (see denoise.noise_level), shadows are calmed before they are lifted.
    """
    if light_11HW.device.type == "cpu" and not noise:
        from cliplit.networks import kernel

        return kernel.relight_by_map(pixels, light_11HW[0, 0].numpy(), strength)
    with torch.inference_mode():
        image = to_image(pixels, light_11HW.device)
        if noise:
            image = calm_shadows(image, light_11HW.pow(-strength), noise)
        return to_pixels(apply_illumination(image, light_11HW, strength), pixels.dtype)


def full_scale(dtype: np.dtype) -> float:
    """What full white is in pixels of ``dtype``."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def to_image(pixels: np.ndarray, device: torch.device) -> Tensor:
    """1 x 3 x H x W float32 in 0..1 on the device, of H x W x 3 pixels."""
    image = torch.from_numpy(np.array(pixels, dtype=pixels.dtype, order="C")).to(device)
    return image.permute(2, 0, 1)[None].float() / full_scale(pixels.dtype)


def to_pixels(image_1CHW: Tensor, dtype: np.dtype) -> np.ndarray:
    """H x W x 3 of ``dtype``, rounded, of an image in 0..1."""
    values = image_1CHW[0].permute(1, 2, 0).cpu().numpy()
    if np.issubdtype(dtype, np.integer):
        values = np.round(values * full_scale(dtype))
    return np.ascontiguousarray(values, dtype=dtype)
