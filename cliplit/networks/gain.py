"""How an illumination map becomes light: one gain for all three channels, with highlights rolled off."""

from __future__ import annotations

import torch
from torch import Tensor

#: Sharpness of the highlights' knee: 1 is a soft Reinhard curve, infinity is clipping.
KNEE = 4.0


def apply_illumination(image_BCHW: Tensor, illumination_B1HW: Tensor, strength: float = 1.0) -> Tensor:
    """Enhance sRGB-coded ``image`` (0..1) by the gain g = L^−strength; returns 0..1, differentiable.

    The Retinex division x/L clips; here the brightest channel m of a pixel becomes

        f(m, g) = m·g / (1 + (m·g)^p·(1 − g^−p))^(1/p),   p = KNEE,

    which is m·g in the shadows, keeps white white (f(1, g) = 1), is the identity for g = 1 and rises with m for every
    g. The other channels are scaled by the same f/m, so hue and saturation stay. ``strength`` 0 returns the image.
    """
    if strength == 0:
        return image_BCHW
    brightest = image_BCHW.amax(dim=1, keepdim=True)
    gain = illumination_B1HW.pow(-strength)
    knee = 1 + (brightest * gain).pow(KNEE) - brightest.pow(KNEE)
    return (image_BCHW * gain * knee.clamp_min(1e-6).pow(-1 / KNEE)).clamp(0, 1)


def guide_of(image_BCHW: Tensor) -> Tensor:
    """What the grid and its curve are indexed by, B1HW in 0..1: the mean of luma and brightest channel."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image_BCHW.dtype, device=image_BCHW.device).view(1, 3, 1, 1)
    return ((image_BCHW * weights).sum(1, keepdim=True) + image_BCHW.amax(1, keepdim=True)) / 2
