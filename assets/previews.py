"""Small pictures in Dagster's metadata: JPEG as base64 in markdown, under 100 kB each."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import dagster as dg
from PIL import Image

from cliplit.errors import PhotoError
from cliplit.evaluation.pictures import rows, stage_picture
from cliplit.files import read_json
from cliplit.lineage import graph
from cliplit.lineage.champion import CHAMPION, RECORD
from cliplit.photos.codecs import read_photo

LIMIT = 100_000  # characters of one preview


def stage_preview(project: Path, stage: graph.Stage) -> dg.MetadataValue | None:
    """What the stage's output looks like; a table of what start decided; None where there is nothing to show."""
    if stage.family == "start":
        return _decision(project)
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


def _decision(project: Path) -> dg.MetadataValue:
    """Whether training goes on from the champion, from which one, and why."""
    from cliplit.training.start import METRICS, read_start

    told = read_json(project / METRICS)
    record = project / CHAMPION / RECORD
    champion = f"`{read_json(record)['md5']}` (DVC md5)" if record.is_file() else "none"
    rows = {
        "training": "goes on from the champion" if told["start"] == "champion" else "begins anew",
        "because": told["start_reason"],
        "champion in `data/champion`": champion,
        "photos now": told["photos"],
        "photos of the champion": told["champion_photos"],
        "of both, came or went": f"{told['changed']:.1%}",
        "steps of round 0": f"{read_start(project).steps:.0%} of those in params.yaml",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return dg.MetadataValue.md("\n".join(["| start | |", "|---|---|", *lines]))


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
