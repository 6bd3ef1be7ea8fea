"""Render before_after.jpg, the picture that the README opens with: python docs/pictures/make.py [--weights FILE].

Every scene is one of the project's own rendered demo photos, so the picture carries the project's licence. Without
--weights the champion of the current folder relights them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cliplit.enhancer import CHAMPION, Enhancer
from cliplit.photos.demo import render_photo

# (seed, index) of render_photo("backlit", ...), and what it shows
SCENES = {(7, 6): "archway", (3, 17): "lake", (7, 13): "street", (7, 15): "room"}
TILE = (400, 280)  # px, width and height of one photo
GAP, MARGIN, CAPTION = 8, 24, 44
PAPER, INK = (250, 249, 247), (60, 58, 54)


def main() -> None:
    """Write the strip beside this file, or to --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=CHAMPION, help="a weights file; without it, the champion")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("before_after.jpg"))
    options = parser.parse_args()
    enhancer = Enhancer.load(options.weights, "cpu")
    before = [render_photo("backlit", seed, index) for seed, index in SCENES]
    after = [enhancer.enhance(pixels) for pixels in before]
    strip(before, after).save(options.out, quality=88, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size // 1000} kB")


def strip(before: list[np.ndarray], after: list[np.ndarray]) -> Image.Image:
    """One row of photos as taken, below it the same photos relit, each row with its caption."""
    width, height = TILE
    sheet_width = 2 * MARGIN + len(before) * (width + GAP) - GAP
    sheet = Image.new("RGB", (sheet_width, 2 * (CAPTION + height) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    rows = (("Rendered scenes, taken against the light", before), ("The same, relit by cliplit", after))
    for row, (caption, photos) in enumerate(rows):
        top = row * (CAPTION + height)
        draw.text((MARGIN, top + CAPTION / 2), caption, INK, ImageFont.load_default(22), anchor="lm")
        for column, pixels in enumerate(photos):
            sheet.paste(cropped(pixels), (MARGIN + column * (width + GAP), top + CAPTION))
    return sheet


def cropped(pixels: np.ndarray) -> Image.Image:
    """The largest part of TILE's shape around the middle, somewhat lower, where the subject stands; resized to TILE."""
    picture = Image.fromarray(pixels)
    scale = min(picture.width / TILE[0], picture.height / TILE[1])
    width, height = round(TILE[0] * scale), round(TILE[1] * scale)
    left, top = (picture.width - width) // 2, round((picture.height - height) * 0.6)
    return picture.crop((left, top, left + width, top + height)).resize(TILE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
