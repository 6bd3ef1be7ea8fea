"""Small pictures in Dagster's metadata: JPEG as base64 in markdown, under 100 kB each."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import dagster as dg
from PIL import Image

from cliplit.errors import PhotoError
from cliplit.evaluation.pictures import rows, stage_picture
from cliplit.lineage import graph
from cliplit.photos.codecs import read_photo

LIMIT = 100_000  # characters of one preview


def stage_preview(project: Path, stage: graph.Stage) -> dg.MetadataValue | None:
    """What the stage's output looks like, None where it has no looks."""
    picture = stage_picture(project, stage.family, stage.round)
    return markdown(picture) if picture else None


def grid_preview(photos: list[Path]) -> dg.MetadataValue | None:
    """One row of ``photos``; those that cannot be decoded are left out."""
    pictures = []
    for photo in photos:
        try:
            pictures.append(read_photo(photo).pixels)
        except PhotoError:
            continue
    return markdown(rows([pictures])) if pictures else None


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
