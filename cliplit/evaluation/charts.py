"""Small pictures of figures, drawn with Pillow: two histograms over each other, and photos with words below them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE, SHOWN, GAP = 110, 6, 6
WIDTH = SHOWN * (TILE + GAP) + GAP  # px of everything here
GREY, ORANGE = (128, 138, 155), (214, 90, 40)  # of the first and of the second of two things
_PAPER, _INK = (250, 250, 250), (30, 30, 30)
_CHART, _TITLE, _LABEL, _BAR = 90, 22, 18, 3  # px

Colour = tuple[int, int, int]


def histograms(first: np.ndarray, second: np.ndarray, names: tuple[str, str], ends: tuple[str, str]) -> Image.Image:
    """``first`` as a grey area, ``second`` as an orange line, of as many bins; ``ends`` are the words at both ends."""
    width = WIDTH - 2 * GAP
    chart = Image.new("RGB", (width, _CHART + 16), _PAPER)
    draw = ImageDraw.Draw(chart)
    most = float(max(first.max(), second.max())) or 1.0
    step = width / len(first)
    for index, share in enumerate(first):
        top = _CHART - share / most * (_CHART - 4)
        draw.rectangle((index * step, top, (index + 1) * step, _CHART), fill=GREY)
    line = [((index + 0.5) * step, _CHART - share / most * (_CHART - 4)) for index, share in enumerate(second)]
    draw.line(line, fill=ORANGE, width=2)
    font = ImageFont.load_default(10)
    draw.text((0, _CHART + 2), ends[0], fill=_INK, font=font)
    draw.text((width, _CHART + 2), ends[1], fill=_INK, font=font, anchor="ra")
    draw.text((width // 2 - 10, _CHART + 2), names[0], fill=GREY, font=font, anchor="ra")
    draw.text((width // 2 + 10, _CHART + 2), names[1], fill=ORANGE, font=font)
    return chart


def panel(
    title: str,
    photos: Sequence[np.ndarray],
    labels: Sequence[str],
    colours: Sequence[Colour] | None = None,
    chart: Image.Image | None = None,
) -> Image.Image:
    """A title, a chart where there is one, and at most SHOWN photos (uint8 HxWx3), a label and a bar of colour each."""
    top = _TITLE + (chart.height + GAP if chart else 0)
    whole = Image.new("RGB", (WIDTH, top + (TILE + _LABEL + GAP if photos else 0)), _PAPER)
    draw = ImageDraw.Draw(whole)
    draw.text((GAP, 4), title, fill=_INK, font=ImageFont.load_default(13))
    if chart:
        whole.paste(chart, (GAP, _TITLE))
    font = ImageFont.load_default(10)
    for place, (pixels, label) in enumerate(zip(photos[:SHOWN], labels, strict=False)):
        picture = Image.fromarray(pixels)
        picture.thumbnail((TILE, TILE), Image.Resampling.BOX)
        left = GAP + place * (TILE + GAP)
        whole.paste(picture, (left, top))
        if colours:
            draw.rectangle((left, top + TILE, left + picture.width - 1, top + TILE + _BAR - 1), fill=colours[place])
        draw.text((left, top + TILE + _BAR), label, fill=_INK, font=font)
    return whole


def column(panels: list[Image.Image]) -> Image.Image:
    """Panels below each other."""
    whole = Image.new("RGB", (WIDTH, sum(each.height for each in panels)), _PAPER)
    top = 0
    for each in panels:
        whole.paste(each, (0, top))
        top += each.height
    return whole
