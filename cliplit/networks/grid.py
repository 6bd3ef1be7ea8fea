"""The fast network: from a thumbnail it predicts a gain curve and a bilateral grid of log-gains.

A released CLIP-LIT's illumination is to 92–99 % a function of a pixel's own intensity, and a 16×16 grid of such
functions reproduces it at 33 dB; so the convolutions need to see a thumbnail only (after HDRNet, Gharbi et al. 2017).
Slicing the grid by the photo itself keeps the gain smooth where the photo is smooth and sharp at its edges.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliplit.networks.gain import guide_of

THUMBNAIL = 128
CELLS = 16
DEPTH = 8
KNOTS = 16
#: A gain may fall below one by this much (natural log): enough to calm a sky, not to darken a photo.
LEAST_LOG_GAIN = -0.2


class GridNetwork(nn.Module):
    """Illumination map B1HW in 1/max_gain..e^0.2 from an image B3HW in 0..1 of any size."""

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
        self.curve = nn.Linear(wide, KNOTS + 1)
        self.spread = nn.Linear(wide, wide)
        self.cells = nn.Conv2d(wide, DEPTH, 1)
        for layer in (self.curve, self.cells):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.curve.bias[:KNOTS], -3.0)
        self.register_buffer("steepest", _steepest_steps(), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        curve, cells = self.predict(image_BCHW)
        return illumination(guide_of(image_BCHW), curve, cells, self.most_log_gain)

    def predict(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The gain curve Bx(KNOTS + 1) and the grid B×1×DEPTH×CELLS×CELLS, both natural logs of a gain."""
        small = F.interpolate(image_BCHW, size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
        features = self.encode(torch.cat([small, guide_of(small)], dim=1) * 2 - 1)
        features = features + self.local(features)
        moments = torch.cat([features.mean((2, 3)), features.std((2, 3))], dim=1)
        overall = self.overall(moments)
        cells = self.cells(F.silu(features + self.spread(overall)[:, :, None, None]))
        return self._curve_from(self.curve(overall)), cells[:, None]

    def _curve_from(self, raw: Tensor) -> Tensor:
        """Knots from dark to bright: falling, so that shadows gain most, and slowly enough that tones keep order.

        A step of the log-gain never exceeds the step of the log-intensity, so intensity times gain rises.
        """
        steps = torch.sigmoid(raw[:, :KNOTS]) * self.steepest
        white = 0.5 * torch.tanh(raw[:, KNOTS:])
        return torch.cat([white + steps.flip(1).cumsum(1).flip(1), white], dim=1)


def _steepest_steps() -> Tensor:
    """The most that the log-gain may fall between two knots; the first interval starts at black and is bounded at 1."""
    knots = torch.linspace(0, 1, KNOTS + 1)
    return torch.cat([torch.ones(1), (knots[2:] / knots[1:-1]).log()]) * 0.9


def illumination(guide_B1HW: Tensor, curve_BK: Tensor, cells_B1DHW: Tensor, most_log_gain: float) -> Tensor:
    """Slice curve and grid by the guide: L = exp(−log-gain), B1HW; trilinear, differentiable in all arguments."""
    count, _, height, width = guide_B1HW.shape
    position = guide_B1HW[:, 0] * 2 - 1
    along = torch.stack([position, torch.zeros_like(position)], dim=-1)
    gain = F.grid_sample(curve_BK[:, None, None], along, padding_mode="border", align_corners=True)
    rows = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, dtype=position.dtype, device=position.device)
    columns = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, dtype=position.dtype, device=position.device)
    grid = torch.stack(
        [columns.expand(count, height, width), rows[:, None].expand(count, height, width), position], dim=-1
    )
    sliced = F.grid_sample(cells_B1DHW, grid[:, None], padding_mode="border", align_corners=False)
    return torch.exp(-(gain + sliced[:, 0]).clamp(LEAST_LOG_GAIN, most_log_gain))
