"""The fast network: from a thumbnail it predicts a grid of gain curves, which the photo itself then looks up.

A released CLIP-LIT's illumination is to 92–99 % a function of a pixel's own intensity, and a 16×16 grid of such
functions reproduces it at 33 dB; so the convolutions need to see a thumbnail only (after HDRNet, Gharbi et al. 2017).
Every cell holds a gain curve over intensity that falls, so that shadows gain most, but never so fast that a brighter
tone ends up darker than its neighbour; interpolating between cells keeps both properties. Slicing the grid by the
photo keeps the gain smooth where the photo is smooth and sharp at its edges.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliplit.networks.gain import guide_of

THUMBNAIL = 128
CELLS = 16
KNOTS = 12
#: A gain may fall below one by this much (natural log): enough to calm a sky, not to darken a photo.
LEAST_LOG_GAIN = -0.2


class GridNetwork(nn.Module):
    """Illumination map B1HW in 1/max_gain..e^0.2 from an image B3HW in 0..1 of any size."""

    steepest: Tensor

    def __init__(self, max_gain: float, width: int = 24) -> None:
        super().__init__()
        self.most_log_gain = math.log(max_gain)

        def down(inputs: int, outputs: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, padding_mode="reflect")
            return nn.Sequential(conv, nn.GroupNorm(4, outputs), nn.SiLU())

        def same(channels: int, dilation: int) -> nn.Sequential:
            conv = nn.Conv2d(
                channels, channels, 3, padding=dilation, dilation=dilation, padding_mode="reflect", bias=False
            )
            return nn.Sequential(conv, nn.GroupNorm(4, channels), nn.SiLU())

        wide = 3 * width
        self.encode = nn.Sequential(down(4, width), down(width, 2 * width), down(2 * width, wide))
        self.local = nn.Sequential(same(wide, 1), same(wide, 2))
        self.overall = nn.Sequential(nn.Linear(2 * wide, wide), nn.SiLU())
        self.spread = nn.Linear(wide, wide)
        self.everywhere = nn.Linear(wide, KNOTS)
        self.cells = nn.Conv2d(wide, KNOTS, 1)
        for layer in (self.everywhere, self.cells):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.constant_(self.everywhere.bias[: KNOTS - 1], -4.0)
        self.register_buffer("steepest", _steepest_steps().view(1, -1, 1, 1), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return illumination(guide_of(image_BCHW), self.predict(image_BCHW), self.most_log_gain)

    def predict(self, image_BCHW: Tensor) -> Tensor:
        """The grid B×KNOTS×CELLS×CELLS of log-gains; knot k stands for the intensity k/(KNOTS − 1)."""
        return self.predict_from(
            F.interpolate(image_BCHW, size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
        )

    def predict_from(self, small: Tensor) -> Tensor:
        """As ``predict``, from the image at THUMBNAIL x THUMBNAIL (see also networks/thumbnail.py)."""
        features = self.encode(torch.cat([small, guide_of(small)], dim=1) * 2 - 1)
        features = features + self.local(features)
        overall = self.overall(torch.cat([features.mean((2, 3)), features.std((2, 3))], dim=1))
        raw = self.cells(F.silu(features + self.spread(overall)[:, :, None, None]))
        raw = raw + self.everywhere(overall)[:, :, None, None]
        steps = torch.sigmoid(raw[:, :-1]) * self.steepest
        white = 0.5 * torch.tanh(raw[:, -1:])
        return torch.cat([white + steps.flip(1).cumsum(1).flip(1), white], dim=1)


def _steepest_steps() -> Tensor:
    """The most that a log-gain may fall between two knots: by the log of the intensities' ratio, less a tenth.

    Then intensity times gain rises. The first interval starts at black, where the ratio is infinite; there it is 1.
    """
    knots = torch.linspace(0, 1, KNOTS)
    return torch.cat([torch.ones(1), (knots[2:] / knots[1:-1]).log()]) * 0.9


def illumination(guide_B1HW: Tensor, grid_BKhw: Tensor, most_log_gain: float) -> Tensor:
    """Slice the grid of log-gains by the guide: L = exp(−log-gain), B1HW; trilinear, differentiable in both."""
    count, _, height, width = guide_B1HW.shape
    knots = grid_BKhw.shape[1]
    # grid_sample puts the first and last knot half a step inside −1..1.
    depth = (2 * guide_B1HW[:, 0] * (knots - 1) + 1) / knots - 1
    rows = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, dtype=depth.dtype, device=depth.device)
    columns = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, dtype=depth.dtype, device=depth.device)
    where = torch.stack([columns.expand_as(depth), rows[:, None].expand_as(depth), depth], dim=-1)
    sliced = F.grid_sample(grid_BKhw[:, None], where[:, None], padding_mode="border", align_corners=False)
    return torch.exp(-sliced[:, 0].clamp(LEAST_LOG_GAIN, most_log_gain))
