"""What drift looks like: both histograms of each role, and the incoming photos most unlike the training set."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cliplit.inbox.drift import BINS, Compared, Drift

_TILE, _SHOWN, _GAP = 110, 6, 6
_WIDTH = _SHOWN * (_TILE + _GAP) + _GAP
_CHART = 90
_TRAINING, _INCOMING = (150, 160, 175), (214, 90, 40)
_PAPER, _INK = (250, 250, 250), (30, 30, 30)


def exposure_picture(found: list[Compared]) -> Image.Image:
    """Brightness histograms of training and incoming photos, and the photos whose own are farthest off."""
    return _stack([_exposure(one) for one in found])


def features_picture(found: list[Compared]) -> Image.Image:
    """The incoming photos that the prior finds farthest from the training set, with their distances."""
    return _stack([_panel(one, one.features, None) for one in found])


def _exposure(one: Compared) -> Image.Image:
    return _panel(one, one.exposure, _chart(one.training.histograms.mean(0), one.incoming.histograms.mean(0)))


def _panel(one: Compared, drift: Drift, chart: Image.Image | None) -> Image.Image:
    """A title, a chart where there is one, and the most unlike photos."""
    bar, label = 22, 14
    top = bar + (chart.height + _GAP if chart else 0)
    panel = Image.new("RGB", (_WIDTH, top + _TILE + label + _GAP), _PAPER)
    draw = ImageDraw.Draw(panel)
    verdict = "UNLIKE the training set" if drift.drifted else "like the training set"
    title = f"{one.role}: {verdict}; distance {drift.distance:.3f}, warned above {drift.threshold:.3f}"
    draw.text((_GAP, 4), title, fill=_INK, font=ImageFont.load_default(13))
    if chart:
        panel.paste(chart, (_GAP, bar))
    font = ImageFont.load_default(10)
    for place, index in enumerate(np.argsort(-drift.each, kind="stable")[:_SHOWN]):
        picture = Image.fromarray(one.incoming.pixels[int(index)])
        picture.thumbnail((_TILE, _TILE), Image.Resampling.BOX)
        left = _GAP + place * (_TILE + _GAP)
        panel.paste(picture, (left, top))
        name = one.incoming.names[int(index)]
        draw.text((left, top + _TILE), f"{drift.each[index]:.3f} {name[:14]}", fill=_INK, font=font)
    return panel


def _chart(training: np.ndarray, incoming: np.ndarray) -> Image.Image:
    """Two histograms over each other: training as an area, incoming as a line; dark is left."""
    width = _WIDTH - 2 * _GAP
    chart = Image.new("RGB", (width, _CHART + 16), _PAPER)
    draw = ImageDraw.Draw(chart)
    most = float(max(training.max(), incoming.max())) or 1.0
    step = width / BINS
    for index, share in enumerate(training):
        top = _CHART - share / most * (_CHART - 4)
        draw.rectangle((index * step, top, (index + 1) * step, _CHART), fill=_TRAINING)
    line = [((index + 0.5) * step, _CHART - share / most * (_CHART - 4)) for index, share in enumerate(incoming)]
    draw.line(line, fill=_INCOMING, width=2)
    font = ImageFont.load_default(10)
    draw.text((0, _CHART + 2), "dark", fill=_INK, font=font)
    draw.text((width - 32, _CHART + 2), "bright", fill=_INK, font=font)
    draw.text((width // 2 - 80, _CHART + 2), "training set", fill=_TRAINING, font=font)
    draw.text((width // 2 + 10, _CHART + 2), "incoming", fill=_INCOMING, font=font)
    return chart


def _stack(panels: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (_WIDTH, sum(panel.height for panel in panels)), _PAPER)
    top = 0
    for panel in panels:
        whole.paste(panel, (0, top))
        top += panel.height
    return whole
