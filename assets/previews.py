"""Small pictures in Dagster's metadata: JPEG as base64 in markdown, under 100 kB each."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
from PIL import Image

from cliplit.errors import PhotoError
from cliplit.files import read_json
from cliplit.lineage import dvc
from cliplit.photos.codecs import read_photo

LIMIT = 100_000  # characters of one preview
_HEIGHT = 150  # px of a photo in a row
_SHOWN = 4


def stage_preview(project: Path, stage: dvc.Stage) -> dg.MetadataValue | None:
    """What the stage's output looks like, None where it has no looks."""
    if stage.family == "curate":
        sheet = project / "artifacts" / "dataset" / "contact_sheet.jpg"
        return markdown(Image.fromarray(read_photo(sheet).pixels)) if sheet.exists() else None
    if stage.family == "enhancer":
        return _relit(project, project / stage.outs[0] / "network.safetensors")
    if stage.family == "evaluate":
        return _gallery(project / stage.outs[0])
    return None


def grid_preview(photos: list[Path]) -> dg.MetadataValue | None:
    """One row of ``photos``; those that cannot be decoded are left out."""
    pictures = []
    for photo in photos:
        try:
            pictures.append(read_photo(photo).pixels)
        except PhotoError:
            continue
    return markdown(_rows([pictures])) if pictures else None


def markdown(picture: Image.Image) -> dg.MetadataValue:
    """``picture`` as markdown, made smaller until it fits LIMIT."""
    quality = 82
    while True:
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=quality)
        text = f"![preview](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})"
        if len(text) < LIMIT:
            return dg.MetadataValue.md(text)
        picture = picture.resize((max(1, picture.width * 4 // 5), max(1, picture.height * 4 // 5)))
        quality = max(60, quality - 5)


def _relit(project: Path, weights: Path) -> dg.MetadataValue | None:
    """Held-out backlit photos above what the network at ``weights`` makes of them."""
    manifest = project / "artifacts" / "dataset" / "manifest.csv"
    if not manifest.exists() or not weights.exists():
        return None
    table = pd.read_csv(manifest)
    held_out = table[(table["role"] == "backlit") & (table["split"] == "val")]["photo"].sort_values()
    before = [read_photo(project / "artifacts" / "dataset" / "photos" / name).pixels for name in held_out[:_SHOWN]]
    if not before:
        return None
    from cliplit.enhancer import Enhancer  # torch takes seconds to import: not while Dagster loads the graph

    enhancer = Enhancer.load(weights, "cpu")
    before = [np.asarray(_fit(pixels, 2 * _HEIGHT)) for pixels in before]
    return markdown(_rows([before, [enhancer.enhance(pixels) for pixels in before]]))


def _gallery(evaluation: Path) -> dg.MetadataValue | None:
    """The first pictures of the evaluation's gallery (the worst ones), before above after."""
    if not (evaluation / "gallery.json").exists():
        return None
    entries = [entry for entry in read_json(evaluation / "gallery.json") if entry["set"] != "well_lit"][:_SHOWN]
    rows = [
        [read_photo(evaluation / "photos" / entry[side]).pixels for entry in entries] for side in ("before", "after")
    ]
    return markdown(_rows(rows)) if entries else None


def _rows(rows: list[list[np.ndarray]]) -> Image.Image:
    """Photos of equal height side by side, one row below the other."""
    gap = 4
    fitted = [[_fit(pixels, _HEIGHT) for pixels in row] for row in rows]
    width = max(sum(picture.width + gap for picture in row) for row in fitted) - gap
    sheet = Image.new("RGB", (width, len(rows) * (_HEIGHT + gap) - gap), "white")
    for index, row in enumerate(fitted):
        left = 0
        for picture in row:
            sheet.paste(picture, (left, index * (_HEIGHT + gap)))
            left += picture.width + gap
    return sheet


def _fit(pixels: np.ndarray, height: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.BOX)
