"""Bad light, made from good: exposure, backlight, noise, haze, casts and flat or garish colours, in batches.

Everything works on linear RGB tensors B3HW and returns, beside the picture, how severe each defect is (0..1), so
that the prior learns degrees of bad light rather than classes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: What a photo can suffer from; the order of the columns of every severity tensor.
DEFECTS = (
    "backlit",
    "underexposed",
    "overexposed",
    "hazy",
    "noisy",
    "low contrast",
    "oversaturated",
    "color cast",
)


@dataclass
class Batch:
    """Photos in linear RGB B3HW and the severity BxD of each defect in them."""

    linear: Tensor
    severity: Tensor
    tint: Tensor

    def worsen(self, defect: str, amount: Tensor) -> None:
        """Raise the severity of ``defect`` to at least ``amount`` (B values, clamped to 0..1)."""
        column = DEFECTS.index(defect)
        self.severity[:, column] = torch.maximum(self.severity[:, column], amount.clamp(0, 1))


def to_linear(coded: Tensor) -> Tensor:
    """sRGB-coded values 0..1 to linear light (IEC 61966-2-1)."""
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def to_coded(linear: Tensor) -> Tensor:
    """Linear light to sRGB-coded values, clipped to 0..1 (IEC 61966-2-1)."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-8) ** (1 / 2.4) - 0.055)


def uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    """``count`` uniform numbers in low..high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def chosen(generator: torch.Generator, count: int, share: float) -> Tensor:
    """Boolean mask of length ``count``, each true with probability ``share``."""
    return torch.rand(count, generator=generator) < share


def simulate(linear: Tensor, real_backlit: Tensor, generator: torch.Generator) -> Batch:
    """Give each well-lit photo of a batch some bad light, or none.

    ``linear`` is B3HW in 0..1; where ``real_backlit`` (B booleans) is true the photo is a real backlit or dark one and
    keeps its light. Returned pictures are not clipped yet: the camera clips when they are coded.
    """
    count = linear.shape[0]
    batch = Batch(linear.clone(), torch.zeros(count, len(DEFECTS)), torch.zeros(count, 3))
    _label_real(batch, real_backlit)
    lot = torch.rand(count, generator=generator)
    _expose(batch, (lot < 0.34) & ~real_backlit, generator)
    _backlight(batch, (lot >= 0.34) & (lot < 0.66) & ~real_backlit, generator)
    _contrast(batch, chosen(generator, count, 0.18) & ~real_backlit, generator)
    _saturate(batch, chosen(generator, count, 0.15), generator)
    _cast(batch, chosen(generator, count, 0.30), generator)
    _haze(batch, chosen(generator, count, 0.10) & ~real_backlit, generator)
    _noise(batch, chosen(generator, count, 0.20), generator)
    return batch


def spoil(linear: Tensor, defect: str, generator: torch.Generator) -> Batch:
    """Every photo of ``linear`` (B3HW, 0..1) with one kind of defect, of random severity, and no other on purpose."""
    makers = {
        "backlit": _backlight,
        "underexposed": _expose,
        "overexposed": _expose,
        "hazy": _haze,
        "noisy": _noise,
        "low contrast": _contrast,
        "oversaturated": _saturate,
        "color cast": _cast,
    }
    count = linear.shape[0]
    batch = Batch(linear.clone(), torch.zeros(count, len(DEFECTS)), torch.zeros(count, 3))
    makers[defect](batch, torch.ones(count, dtype=torch.bool), generator)
    return batch


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _luma(linear: Tensor) -> Tensor:
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=linear.device).view(1, 3, 1, 1)
    return (linear * weights).sum(1, keepdim=True)


def _label_real(batch: Batch, real: Tensor) -> None:
    """A real dark photo is backlit as far as it holds bright regions too, else under-exposed."""
    coded = to_coded(_luma(batch.linear)).flatten(1)
    bright = (coded > 0.6).float().mean(1)
    backlit = ((bright - 0.01) / 0.06).clamp(0, 1)
    batch.worsen("backlit", torch.where(real, backlit, 0.0))
    batch.worsen("underexposed", torch.where(real, 1 - backlit, 0.0))


def _expose(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Exposure error in stops, in linear light, or as a gamma, which is what careless brightening does."""
    count = len(mask)
    stops = uniform(generator, count, -5.0, 2.8)
    gamma = chosen(generator, count, 0.3)
    light = torch.where(
        _column(gamma),
        to_linear(to_coded(batch.linear) ** _column(2.0 ** (-stops.clamp(-3, 2.2) / 1.6))),
        batch.linear * _column(2.0**stops),
    )
    batch.linear = torch.where(_column(mask), light, batch.linear)
    batch.worsen("underexposed", torch.where(mask, (-stops - 0.15) / 1.3, 0.0))
    over = torch.where(mask, (stops - 0.15) / 1.1, 0.0)
    batch.worsen("overexposed", torch.where(gamma, over * 0.7, over))
    batch.worsen("low contrast", torch.where(gamma, over * 0.7, 0.0))


def _backlight(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Part of the scene in shade, as against the light; then perhaps careless brightening of the whole."""
    count, _, height, width = batch.linear.shape
    shade = shade_map(batch.linear, generator)
    inside = uniform(generator, count, 0.04, 0.5)
    outside = uniform(generator, count, 0.8, 1.4)
    lift = torch.where(chosen(generator, count, 0.35), 2.0 ** uniform(generator, count, 0.3, 3.0), torch.ones(count))
    gain = (_column(inside.log()) * shade + _column(outside.log()) * (1 - shade)).exp() * _column(lift)
    batch.linear = torch.where(_column(mask), batch.linear * gain, batch.linear)
    area = shade.mean((1, 2, 3))
    seen = (area / 0.2).clamp(0, 1)
    ratio = (outside / inside).log2() * seen
    batch.worsen("backlit", torch.where(mask, (ratio - 0.4) / 1.6, 0.0))
    over = ((outside * lift).log2() - 0.2) / 1.0 * ((1 - area) / 0.3).clamp(0, 1)
    batch.worsen("overexposed", torch.where(mask, over, 0.0))


def shade_map(linear: Tensor, generator: torch.Generator) -> Tensor:
    """Soft masks B1HW of what lies in shade: low-frequency noise biased to dark and lower regions, following edges."""
    count, _, height, width = linear.shape
    luma = to_coded(_luma(linear))
    cells = int(torch.randint(2, 6, (1,), generator=generator))
    noise = F.interpolate(
        torch.randn(count, 1, cells, cells, generator=generator), size=(height, width), mode="bicubic"
    )
    rows = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
    field = noise * 0.5 + rows * _column(uniform(generator, count, 0.0, 1.2))
    field = field - (luma - luma.mean((2, 3), keepdim=True)) * _column(uniform(generator, count, 1.0, 5.0))
    level = torch.quantile(field.flatten(1), 0.5, dim=1) + uniform(generator, count, -0.5, 0.6)
    mask = torch.sigmoid((field - _column(level)) * _column(uniform(generator, count, 3.0, 16.0)))
    return guided_filter(luma, mask, radius=max(2, height // 12), epsilon=2e-3).clamp(0, 1)


def guided_filter(guide: Tensor, values: Tensor, radius: int, epsilon: float) -> Tensor:
    """He et al.'s guided filter of ``values`` B1HW by ``guide`` B1HW with a box of side 2·radius + 1."""

    def box(picture: Tensor) -> Tensor:
        padded = F.pad(picture, (radius,) * 4, mode="reflect")
        return F.avg_pool2d(padded, 2 * radius + 1, stride=1)

    mean_guide, mean_values = box(guide), box(values)
    slope = (box(guide * values) - mean_guide * mean_values) / (box(guide * guide) - mean_guide**2 + epsilon)
    return box(slope) * guide + box(mean_values - slope * mean_guide)


def _contrast(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Flattened towards the mean: what lifted shadows and dull light look like."""
    amount = uniform(generator, len(mask), 0.0, 0.75)
    coded = to_coded(batch.linear)
    centre = coded.mean((1, 2, 3), keepdim=True) * 0.5 + 0.25
    flat = to_linear(centre + (coded - centre) * _column(1 - amount))
    batch.linear = torch.where(_column(mask), flat, batch.linear)
    batch.worsen("low contrast", torch.where(mask, (amount - 0.1) / 0.5, 0.0))


def _saturate(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Colours pushed away from grey."""
    amount = uniform(generator, len(mask), 1.0, 3.0)
    luma = _luma(batch.linear)
    vivid = (luma + (batch.linear - luma) * _column(amount)).clamp_min(0)
    batch.linear = torch.where(_column(mask), vivid, batch.linear)
    batch.worsen("oversaturated", torch.where(mask, (amount - 1.2) / 1.0, 0.0))


def _cast(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """White balance off: warm, cool, green or magenta."""
    count = len(mask)
    warm = uniform(generator, count, -1.0, 1.0)
    green = uniform(generator, count, -0.5, 0.5)
    gains = torch.stack([2.0 ** (warm * 0.9), 2.0**green, 2.0 ** (-warm * 0.9)], dim=1)
    gains = gains / (gains @ torch.tensor([0.2126, 0.7152, 0.0722])).unsqueeze(1)
    tinted = batch.linear * gains.view(-1, 3, 1, 1)
    batch.linear = torch.where(_column(mask), tinted, batch.linear)
    batch.tint = torch.where(mask.unsqueeze(1), gains.log2(), batch.tint)
    strength = torch.maximum(warm.abs(), 2 * green.abs() * 0.8)
    batch.worsen("color cast", torch.where(mask, (strength - 0.15) / 0.6, 0.0))


def _haze(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Koschmieder's model: the scene fades into bright air, more towards the top, where distance is."""
    count, _, height, _ = batch.linear.shape
    density = uniform(generator, count, 0.1, 0.85)
    rows = torch.linspace(1.0, 0.5, height).view(1, 1, -1, 1)
    veil = _column(density) * rows
    air = _column(uniform(generator, count, 0.5, 0.95))
    batch.linear = torch.where(_column(mask), batch.linear * (1 - veil) + air * veil, batch.linear)
    batch.worsen("hazy", torch.where(mask, (density - 0.1) / 0.4, 0.0))


def _noise(batch: Batch, mask: Tensor, generator: torch.Generator) -> None:
    """Shot and read noise (variance a·x + b in linear light), part of it in blotches, as lifted shadows show it."""
    count, _, height, width = batch.linear.shape
    amount = uniform(generator, count, 0.0, 1.0)
    deviation = (batch.linear.clamp(0, 1) * _column(0.015 * amount**2) + _column((0.025 * amount) ** 2)).sqrt()
    fine = torch.randn(batch.linear.shape, generator=generator)
    coarse = F.interpolate(torch.randn(count, 3, height // 2, width // 2, generator=generator), size=(height, width))
    grain = torch.where(_column(chosen(generator, count, 0.5)), fine, 0.5 * fine + 0.8 * coarse)
    batch.linear = torch.where(_column(mask), (batch.linear + deviation * grain).clamp_min(0), batch.linear)
    batch.worsen("noisy", torch.where(mask, (amount - 0.15) / 0.45, 0.0))
