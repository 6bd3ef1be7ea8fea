"""A contact sheet: what stands in each role and split, at one glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cliplit.photos.codecs import read_photo, save_jpeg

_TILE = 112
_COLUMNS = 10
_MOST = {"train": 40, "val": 20}
_COLOURS = {"backlit": (214, 120, 40), "well_lit": (64, 140, 90)}


def contact_sheet(manifest: pd.DataFrame, photos: Path, target: Path) -> None:
    """Write a labelled grid of evenly chosen photos of each role and split of ``manifest`` to ``target`` (JPEG)."""
    blocks = []
    for role, colour in _COLOURS.items():
        for split, most in _MOST.items():
            ids = manifest.loc[(manifest["role"] == role) & (manifest["split"] == split), "photo"].tolist()
            chosen = [ids[int(k)] for k in np.linspace(0, len(ids) - 1, min(most, len(ids))).round()]
            title = f"{role} / {split}: {len(ids)} photos" + (
                f", {len(chosen)} shown" if len(chosen) < len(ids) else ""
            )
            blocks.append(_block(title, [photos / photo for photo in chosen], colour))
    _save(blocks, target)


def plain_sheet(titled: dict[str, list[Path]], target: Path) -> None:
    """Write a grid of photos under each title to ``target`` (JPEG); every photo must be readable."""
    colours = list(_COLOURS.values())
    blocks = [_block(title, paths, colours[i % len(colours)]) for i, (title, paths) in enumerate(titled.items())]
    _save(blocks, target)


def _save(blocks: list[Image.Image], target: Path) -> None:
    """Blocks of equal width, one below the other."""
    sheet = Image.new("RGB", (blocks[0].width, sum(block.height for block in blocks)))
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    save_jpeg(target, np.array(sheet), quality=85)


def _block(title: str, photos: list[Path], colour: tuple[int, int, int]) -> Image.Image:
    bar, label = 24, 14
    rows = max(1, -(-len(photos) // _COLUMNS))
    block = Image.new("RGB", (_COLUMNS * (_TILE + 4) + 4, bar + rows * (_TILE + label + 4)), (24, 24, 24))
    draw = ImageDraw.Draw(block)
    draw.rectangle((0, 0, block.width, bar - 4), fill=colour)
    draw.text((8, 3), title, fill="white", font=ImageFont.load_default(13))
    font = ImageFont.load_default(9)
    for index, photo in enumerate(photos):
        left = 4 + (index % _COLUMNS) * (_TILE + 4)
        top = bar + (index // _COLUMNS) * (_TILE + label + 4)
        thumbnail = Image.fromarray(read_photo(photo).pixels)
        thumbnail.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
        block.paste(thumbnail, (left + (_TILE - thumbnail.width) // 2, top + (_TILE - thumbnail.height) // 2))
        name = photo.stem
        draw.text((left, top + _TILE), name if len(name) < 22 else f"{name[:20]}…", fill=(200, 200, 200), font=font)
    return block
