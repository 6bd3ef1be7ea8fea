"""Render the pictures of the README and of docs/gallery.md: python docs/pictures/render.py [--weights FILE].

Every scene is one of the project's own rendered demo photos, so the pictures carry the project's licence. Without
--weights the model that cliplit brings relights them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cliplit.enhancer import Enhancer, shipped
from cliplit.evaluation.metrics import psnr
from cliplit.photos.demo import render_photo

# (seed, index) of render_photo, and what it shows
BACKLIT = {(7, 6): "archway", (3, 17): "lake", (7, 13): "street", (7, 15): "room"}
WELL_LIT = {(7, 1): "trees", (3, 2): "portrait", (7, 10): "group", (7, 3): "houses"}
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
TILE = (400, 280)  # px, width and height of one photo
GAP, MARGIN, CAPTION = 8, 24, 44
PAPER, INK = (250, 249, 247), (60, 58, 54)
Rows = list[tuple[str, list[np.ndarray]]]


def main() -> None:
    """Write the sheets beside this file, or into --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="a weights file; without it, what cliplit brings")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    enhancer = Enhancer.load(options.weights or shipped("grid"), "cpu")
    for name, rows in sheets(enhancer).items():
        path = options.out / f"{name}.jpg"
        sheet(rows).save(path, quality=88, optimize=True)
        print(f"{path}: {path.stat().st_size // 1000} kB")


def sheets(enhancer: Enhancer) -> dict[str, Rows]:
    """What each sheet shows, row by row."""
    backlit = [render_photo("backlit", *scene) for scene in BACKLIT]
    fair = [render_photo("well_lit", *scene) for scene in WELL_LIT]
    left = [enhancer.enhance(pixels) for pixels in fair]
    near = min(
        psnr(after / np.float32(255), before / np.float32(255)) for after, before in zip(left, fair, strict=True)
    )
    by_strength = [[enhancer.enhance(pixels, strength) for strength in STRENGTHS] for pixels in backlit[1:3]]
    names = "strength " + ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return {
        "before_after": [
            ("Rendered scenes, taken against the light", backlit),
            ("The same, relit by cliplit", [enhancer.enhance(pixels) for pixels in backlit]),
        ],
        "strength": [(f"From left to right: {names}", by_strength[0]), ("", by_strength[1])],
        "left_alone": [
            ("Rendered scenes in good light", fair),
            (f"The same after cliplit: at least {near:.0f} dB from what they were", left),
        ],
    }


def sheet(rows: Rows) -> Image.Image:
    """Rows of photos, each below its caption where it has one."""
    width, height = TILE
    heights = [(CAPTION if caption else GAP) + height for caption, _ in rows]
    columns = max(len(photos) for _, photos in rows)
    result = Image.new("RGB", (2 * MARGIN + columns * (width + GAP) - GAP, sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(result)
    bottom = 0
    for (caption, photos), taken in zip(rows, heights, strict=True):
        draw.text((MARGIN, bottom + CAPTION / 2), caption, INK, ImageFont.load_default(22), anchor="lm")
        bottom += taken
        for column, pixels in enumerate(photos):
            result.paste(cropped(pixels), (MARGIN + column * (width + GAP), bottom - height))
    return result


def cropped(pixels: np.ndarray) -> Image.Image:
    """The largest part of TILE's shape around the middle, somewhat lower, where the subject stands; resized to TILE."""
    picture = Image.fromarray(pixels)
    scale = min(picture.width / TILE[0], picture.height / TILE[1])
    width, height = round(TILE[0] * scale), round(TILE[1] * scale)
    left, top = (picture.width - width) // 2, round((picture.height - height) * 0.6)
    return picture.crop((left, top, left + width, top + height)).resize(TILE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
