"""One photo's light as a .cube file: a table of colours for editors and ffmpeg.

cliplit's gain depends on where a pixel is and on how bright it is; a table knows the second only. So for every tone
the table holds the gain that it has on average in this photo: the overall change of light stays, local differences are
lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cliplit.enhancer import Enhancer
from cliplit.files import write_text
from cliplit.networks.gain import guide_of
from cliplit.networks.grid import GridNetwork

POINTS = 33


@dataclass(frozen=True)
class Cube:
    """A table of colours, N x N x N x 3 float32 in 0..1, indexed by blue, green and red, as .cube files are ordered."""

    colours: np.ndarray

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` (H x W x 3 uint8) through the table, uint8; trilinear, as programs do that read the file."""
        last = len(self.colours) - 1
        where = pixels[..., ::-1].astype(np.float32) / 255 * last  # blue, green, red
        low = np.minimum(where.astype(np.int64), last - 1)
        share = where - low
        total = np.zeros(pixels.shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, share, 1 - share), axis=-1, keepdims=True)
            blue, green, red = np.moveaxis(low + corner, -1, 0)
            total += weight * self.colours[blue, green, red]
        result: np.ndarray = np.round(total * 255).clip(0, 255).astype(np.uint8)
        return result


def cube_of(enhancer: Enhancer, pixels: np.ndarray, strength: float = 1.0, points: int = POINTS) -> Cube:
    """The table that relights ``pixels`` (H x W x 3 uint8) as the enhancer does on average over the picture.

    Raises ValueError for a network that predicts no grid.
    """
    curve = _mean_curve(enhancer.predict(pixels), pixels, _steepest(enhancer))
    axis = np.linspace(0, 1, points, dtype=np.float32)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colours = np.stack([red, green, blue], axis=-1).reshape(points * points, points, 3)
    # Neighbours in a table of colours are no neighbours in a photo, so nothing is to be smoothed between them.
    relit = Enhancer(enhancer.network, enhancer.device, denoise=False).apply(colours, curve[:, None, None], strength)
    return Cube(np.clip(relit, 0, 1).reshape(points, points, points, 3))


def _mean_curve(grid_Khw: np.ndarray, pixels: np.ndarray, steepest: np.ndarray) -> np.ndarray:
    """Log-gain K of each knot: the mean over the cells, weighted by how many pixels of that tone lie in each.

    Where the mean falls faster from knot to knot than ``steepest`` (K - 1) the darker tone gains less: else dark tones
    that are lifted in one place would overtake bright ones that stay in another.
    """
    knots, rows, columns = grid_Khw.shape
    height, width = pixels.shape[:2]
    guide = guide_of(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0, 0].numpy()
    cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    flat = np.rint(guide * (knots - 1)).astype(np.int64) * (rows * columns) + cell
    count = np.bincount(flat.ravel(), minlength=grid_Khw.size).reshape(grid_Khw.shape)
    weight = count + guide.size / grid_Khw.size * 1e-3  # a tone that the photo lacks takes the plain mean
    curve: np.ndarray = (grid_Khw * weight).sum((1, 2)) / weight.sum((1, 2))
    for knot in reversed(range(knots - 1)):
        curve[knot] = min(curve[knot], curve[knot + 1] + steepest[knot])
    return curve.astype(np.float32)


def _steepest(enhancer: Enhancer) -> np.ndarray:
    if not isinstance(enhancer.network, GridNetwork):
        raise ValueError("only the grid network has gain curves that make a table")
    steepest: np.ndarray = enhancer.network.steepest.flatten().cpu().numpy()
    return steepest


def psnr(enhancer: Enhancer, pixels: np.ndarray, cube: Cube, strength: float = 1.0) -> float:
    """What the table loses: dB (infinity: nothing) between its picture of ``pixels`` and the enhancer's."""
    difference = cube.apply(pixels).astype(np.float32) - enhancer.enhance(pixels, strength)
    error = float(np.mean(difference**2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def write_cube(cube: Cube, path: Path, title: str) -> None:
    """Write ``cube`` as a .cube file (red runs fastest), atomically."""
    lines = [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in cube.colours.reshape(-1, 3)]
    name = " ".join(title.split()).replace('"', "'")
    write_text(path, "\n".join([f'TITLE "{name}"', f"LUT_3D_SIZE {len(cube.colours)}", *lines]) + "\n")
