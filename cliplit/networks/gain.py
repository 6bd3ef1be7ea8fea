"""How an illumination map becomes light: one gain for all three channels, highlights rolled off, colour noise held."""

from __future__ import annotations

import torch
from torch import Tensor

#: Sharpness of the highlights' knee: 1 is a soft Reinhard curve, infinity is clipping.
KNEE = 4.0
#: What a channel of a dark pixel is uncertain by, sRGB-coded: rounding and read noise, one and a half levels of 8 bits.
COLOR_NOISE = 1.5 / 255


def apply_illumination(image_BCHW: Tensor, illumination_B1HW: Tensor, strength: float = 1.0) -> Tensor:
    """Enhance sRGB-coded ``image`` (0..1) by the gain g = L^−strength; returns 0..1, differentiable.

    The Retinex division x/L clips; here the brightest channel m of a pixel becomes

        f(m, g) = m·g / (1 + (m·g)^p·(1 − g^−p))^(1/p),   p = KNEE,

    which is m·g in the shadows, keeps white white (f(1, g) = 1), is the identity for g = 1 and rises with m for every
    g. The other channels are scaled by the same f/m, so hue stays. A gain also multiplies what a pixel's colour is
    uncertain by; so the distance of each channel from the pixel's luma is then shrunk by

        m / (m + n·(g − 1)),   n = COLOR_NOISE, g ≥ 1,

    Wiener's weight in form: deep shadows that are lifted far lose colour noise, other colours stay. ``strength`` 0
    returns the image.
    """
    if strength == 0:
        return image_BCHW
    brightest = image_BCHW.amax(dim=1, keepdim=True)
    gain = illumination_B1HW.pow(-strength)
    knee = 1 + (brightest * gain).pow(KNEE) - brightest.pow(KNEE)
    lifted = image_BCHW * gain * knee.clamp_min(1e-6).pow(-1 / KNEE)
    certainty = (brightest + 1e-6) / (brightest + 1e-6 + COLOR_NOISE * (gain - 1).clamp_min(0))
    luma = luma_of(lifted)
    return (luma + (lifted - luma) * certainty).clamp(0, 1)


def luma_of(image_BCHW: Tensor) -> Tensor:
    """Rec. 601 luma B1HW of sRGB-coded values."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image_BCHW.dtype, device=image_BCHW.device).view(1, 3, 1, 1)
    return (image_BCHW * weights).sum(1, keepdim=True)


def guide_of(image_BCHW: Tensor) -> Tensor:
    """What the grid is indexed by, B1HW in 0..1: the mean of a pixel's luma and its brightest channel."""
    return (luma_of(image_BCHW) + image_BCHW.amax(1, keepdim=True)) / 2
