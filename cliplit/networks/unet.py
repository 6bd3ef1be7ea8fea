"""The network of CLIP-LIT (arXiv 2303.17569): a full-resolution illumination map, 278,790 parameters.

The paper calls it a U-Net, though nothing is downsampled but inside the pyramid pooling. What a pixel's light depends
on is therefore the REACH pixels around it and the pooled means of the whole photo; ``networks/tiles.py`` computes large
photos piece by piece from exactly these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS = (1, 2, 3, 6)
#: 3x3 convolutions in a row, and of these the ones before the pooling.
REACH, REACH_OF_POOLED = 17, 5
#: Where a picture ends at the edge of what is given, in the order of F.pad: left, right, top, bottom. There features
#: are reflected; elsewhere the picture goes on, and each convolution takes one pixel off.
Ends = tuple[int, int, int, int]
EVERYWHERE: Ends = (1, 1, 1, 1)


def _conv(layer: nn.Conv2d, features: Tensor, ends: Ends) -> Tensor:
    padded = F.pad(features, ends, mode="reflect") if any(ends) else features
    return F.conv2d(padded, layer.weight, layer.bias)


def _leaky(features: Tensor) -> Tensor:
    """Leaky ReLU in place: features are fresh from a convolution, and new memory would cost more than the ReLU."""
    return F.leaky_relu(features, 0.2, inplace=True)


def _inside(features: Tensor, ends: Ends, pixels: int) -> Tensor:
    """What is left of ``features`` after as many convolutions as ``pixels``."""
    left, right, top, bottom = (pixels * (1 - end) for end in ends)
    return features[..., top : features.shape[-2] - bottom, left : features.shape[-1] - right]


class ResidualBlock(nn.Module):
    """conv3x3, leaky ReLU, conv3x3, skip, leaky ReLU; no biases, reflect padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)

    def forward(self, features: Tensor, ends: Ends = EVERYWHERE) -> Tensor:
        change = _conv(self.second, _leaky(_conv(self.first, features, ends)), ends)
        return _leaky(change.add_(_inside(features, ends, 2)))


class PyramidPooling(nn.Module):
    """Means over 1, 4, 9 and 36 parts of the picture, brought back to every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(BINS)
        self.reduce = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, part, 1, bias=False), nn.PReLU()) for _ in BINS)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1, padding_mode="reflect", bias=False), nn.PReLU()
        )

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-2:]
        parts = [
            F.interpolate(part, size=size, mode="bilinear", align_corners=True)
            for part in self.parts([F.adaptive_avg_pool2d(features, bins) for bins in BINS])
        ]
        return self.join(features, torch.cat(parts, dim=1))

    def parts(self, means: Sequence[Tensor]) -> list[Tensor]:
        """What each of ``means`` (B x C x b x b for b in BINS) says, B x C/4 x b x b."""
        return [reduce(mean) for mean, reduce in zip(means, self.reduce, strict=True)]

    def join(self, features: Tensor, spread: Tensor, ends: Ends = EVERYWHERE) -> Tensor:
        """Features and the parts spread over them, both B x C x H x W, mixed."""
        return self.fuse[1](_conv(cast(nn.Conv2d, self.fuse[0]), torch.cat([features, spread], dim=1), ends))


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
        return self.after_pooling(self.pyramid(self.before_pooling(image_BCHW)))

    def before_pooling(self, image_BCHW: Tensor, ends: Ends = EVERYWHERE) -> Tensor:
        """The 32 features that are pooled."""
        features = _leaky(_conv(self.stem, image_BCHW, ends))
        for block in self.first:
            features = block(features, ends)
        return features

    def after_pooling(self, features: Tensor, ends: Ends = EVERYWHERE) -> Tensor:
        """The illumination map of 32 features that know what was pooled."""
        features = _conv(self.widen, features, ends)
        for block in self.middle:
            features = block(features, ends)
        features = _conv(self.narrow, features, ends)
        for block in self.last:
            features = block(features, ends)
        return F.relu(_conv(self.head, features, ends)).clamp_min(self.floor)
