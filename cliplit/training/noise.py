"""Camera noise on training crops, so that the network learns what lifting a noisy shadow looks like."""

from __future__ import annotations

import torch
from torch import Tensor

from cliplit.guidance.lumiclip.conditions import to_coded, to_linear

#: Variances of the strongest noise, in linear light where white is 1: shot noise grows with the light, read noise does
#: not. At a hundredth of white that is 7 levels of 255.
SHOT, READ = 2e-3, 4e-6


def camera_noise(image_BCHW: Tensor, share: float, seed: int) -> Tensor:
    """Shot and read noise, variance a^2 (SHOT x + READ) in linear light x, on a random ``share`` of the photos.

    ``image`` is sRGB-coded, 0..1, and so is the result; a is uniform in 0..1 for each photo. Equal seeds give equal
    noise. A share of 0 returns the image itself.
    """
    if share == 0:
        return image_BCHW
    generator = torch.Generator().manual_seed(seed)
    count = len(image_BCHW)
    amount = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < share)
    grain = torch.randn(image_BCHW.shape, generator=generator).to(image_BCHW.device)
    linear = to_linear(image_BCHW)
    deviation = amount.to(image_BCHW.device).view(-1, 1, 1, 1) * (SHOT * linear + READ).sqrt()
    return to_coded((linear + deviation * grain).clamp(0, 1))
