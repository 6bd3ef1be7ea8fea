"""Shade made on purpose: well-lit photos taken too dark or against the light, whose right light is known."""

from __future__ import annotations

import torch
from torch import Tensor

from cliplit.guidance.lumiclip.conditions import shade_map, to_coded, to_linear

#: Stops that a photo, or a part of it, may lose. In deeper shade the photo no longer tells how bright it was, and the
#: network would learn to lift to the mean of all answers: less than the guidance asks for (docs/runs, 2026-11-21).
MOST_STOPS = 1.5


def shaded(image_BCHW: Tensor, seed: int) -> Tensor:
    """The photos darker: every second one as a whole, the others in a part that follows their edges.

    ``image`` is sRGB-coded, 0..1, and so is the result, in steps of 1/255 as a camera would have stored it. Stops are
    uniform from 0 and taken off in linear light; nothing is ever brightened. Equal seeds give equal shade.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(image_BCHW)
    linear = to_linear(image_BCHW).cpu()
    amount = torch.rand(count, generator=generator).view(-1, 1, 1, 1)
    whole = (torch.arange(count) % 2 == 0).view(-1, 1, 1, 1)
    stops = MOST_STOPS * amount * torch.where(whole, 1.0, shade_map(linear, generator))
    return to_coded(linear * 2.0**-stops).mul(255).round().div(255).to(image_BCHW.device)
