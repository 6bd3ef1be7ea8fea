"""Noise in shadows that are about to be lifted: estimated from the photo, then smoothed before the gain is applied.

A gain multiplies noise as it multiplies light, and what stands a few levels above black is mostly noise. So where the
gain is above one, each pixel is drawn towards the mean of its 3 x 3 neighbours by Wiener's weight: all the way where
the neighbourhood varies no more than noise would, not at all where it varies more (Lee, Digital Image Enhancement and
Noise Filtering by Use of Local Statistics, PAMI 1980). ``cliplit bench quality`` prints what this leaves of the noise.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cliplit.networks.gain import COLOR_NOISE, luma_of

#: A neighbourhood whose luma deviates by this many times the photo's noise is smoothed by half. Chosen as the least
#: with which noise grows at most twofold in the dark regions of backlit training photos.
CAUTION = 1.5
#: Noise is believed to lie in this range (standard deviation, sRGB-coded 0..1): below are rounding errors, above is
#: texture that was taken for noise.
LEAST_NOISE, MOST_NOISE = COLOR_NOISE, 6 / 255
#: From this gain on, smoothing is in full force.
FULL_GAIN = 5.0
_DARK = 0.15
_PATCH = 32  # px
_PATCHES = 16  # along either side
_FIFTH = 0.758  # 20th percentile of the deviation of 9 normal samples, in units of the true one (chi-square, 8 d.o.f.)


def noise_level(pixels: np.ndarray) -> float:
    """Standard deviation of the luma's noise in the shadows of H x W x 3 ``pixels``, as a share of full scale.

    ``pixels`` are uint8, uint16 or float in 0..1, sRGB-coded. The 20th percentile of the deviations of all 3 x 3
    neighbourhoods darker than 0.15, because the others hold texture; from at most 256 patches, so that a large photo
    takes no longer. Between LEAST_NOISE and MOST_NOISE; LEAST_NOISE where nothing is dark.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 3:
        return LEAST_NOISE
    tall, wide = min(_PATCH, height), min(_PATCH, width)
    patches = [pixels[top : top + tall, left : left + wide] for top in _starts(height) for left in _starts(width)]
    full = {"uint8": 255.0, "uint16": 65535.0}.get(pixels.dtype.name, 1.0)
    image = torch.from_numpy(np.stack(patches).astype(np.float32)).permute(0, 3, 1, 2) / full
    mean, variance = _moments(luma_of(image))
    found = variance[mean < _DARK]
    if not len(found):
        return LEAST_NOISE
    deviation = float((found.quantile(0.2) * 9 / 8).sqrt()) / _FIFTH
    return min(MOST_NOISE, max(LEAST_NOISE, deviation))


def noise_levels(image_BCHW: Tensor) -> Tensor:
    """``noise_level`` of each image, B x 1 x 1 x 1, on the images' device."""
    found = [noise_level(image.permute(1, 2, 0).cpu().numpy()) for image in image_BCHW]
    return torch.tensor(found, device=image_BCHW.device).view(-1, 1, 1, 1)


def calm_shadows(image_BCHW: Tensor, gain_B1HW: Tensor, noise: float | Tensor) -> Tensor:
    """``image`` (sRGB-coded, 0..1) as it should be before ``gain`` is applied, given the noise of its shadows.

    With m and v the mean and variance of the luma over 3 x 3 pixels, a pixel moves towards the mean colour there by

        w = (k n)^2 / (v + (k n)^2) * min(1, (1 - 1/g) / (1 - 1/FULL_GAIN)),   k = CAUTION, n = noise, g > 1.
    """
    _, variance = _moments(luma_of(image_BCHW))
    uncertain = (CAUTION * noise) ** 2
    lift = ((1 - 1 / gain_B1HW) / (1 - 1 / FULL_GAIN)).clamp(0, 1)
    return image_BCHW + (_mean(image_BCHW) - image_BCHW) * (uncertain / (variance + uncertain) * lift)


def _mean(image_BCHW: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(image_BCHW, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _moments(luma_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    mean = _mean(luma_B1HW)
    return mean, (_mean(luma_B1HW.square()) - mean.square()).clamp_min(0)


def _starts(length: int) -> list[int]:
    """Where patches begin along a side: side by side where it is short, else spread over it."""
    if length <= _PATCHES * _PATCH:
        return [min(start, max(0, length - _PATCH)) for start in range(0, length, _PATCH)]
    return [round(i * (length - _PATCH) / (_PATCHES - 1)) for i in range(_PATCHES)]
