"""The network of CLIP-LIT (arXiv 2303.17569): a full-resolution illumination map, 278,790 parameters.

The paper calls it a U-Net, though nothing is downsampled but inside the pyramid pooling.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BINS = (1, 2, 3, 6)


class ResidualBlock(nn.Module):
    """conv3x3, leaky ReLU, conv3x3, skip, leaky ReLU; no biases, reflect padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.leaky_relu(self.second(F.leaky_relu(self.first(features), 0.2)) + features, 0.2)


class PyramidPooling(nn.Module):
    """Means over 1, 4, 9 and 36 parts of the picture, brought back to every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(_BINS)
        self.reduce = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, part, 1, bias=False), nn.PReLU()) for _ in _BINS)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1, padding_mode="reflect", bias=False), nn.PReLU()
        )

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-2:]
        parts = [
            F.interpolate(reduce(F.adaptive_avg_pool2d(features, bins)), size=size, mode="bilinear", align_corners=True)
            for bins, reduce in zip(_BINS, self.reduce, strict=True)
        ]
        return self.fuse(torch.cat([features, *parts], dim=1))


class UNet(nn.Module):
    """Illumination map B1HW in 1/max_gain.. from an image B3HW in 0..1; both sides at least 2 px."""

    def __init__(self, max_gain: float) -> None:
        super().__init__()
        self.floor = 1.0 / max_gain

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

        self.stem = conv(3, 32)
        self.first = nn.Sequential(ResidualBlock(32), ResidualBlock(32))
        self.pyramid = PyramidPooling(32)
        self.widen = conv(32, 64)
        self.middle = nn.Sequential(ResidualBlock(64), ResidualBlock(64))
        self.narrow = conv(64, 32)
        self.last = nn.Sequential(ResidualBlock(32), ResidualBlock(32))
        self.head = conv(32, 1)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.ones_(cast(Tensor, self.head.bias))  # L = 1 leaves a photo as it is: the place to start from

    def forward(self, image_BCHW: Tensor) -> Tensor:
        features = F.leaky_relu(self.stem(image_BCHW), 0.2)
        features = self.pyramid(self.first(features))
        features = self.middle(self.widen(features))
        features = self.last(self.narrow(features))
        return F.relu(self.head(features)).clamp_min(self.floor)
