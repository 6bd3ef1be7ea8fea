"""One small picture of what a stage made: what Dagster and MLflow show beside its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cliplit.config import load_params
from cliplit.files import read_json
from cliplit.photos.codecs import read_photo

_HEIGHT = 150  # px of a photo in a row
_SHOWN = 4


def stage_picture(project: Path, family: str, round_name: str | None) -> Image.Image | None:
    """The contact sheet of curate, photos as prompts rank them, before and after an enhancer, the worst of evaluate and
    report; None of others."""
    artifacts = project / "artifacts"
    if family == "curate":
        sheet = artifacts / "dataset" / "contact_sheet.jpg"
        return Image.fromarray(read_photo(sheet).pixels) if sheet.exists() else None
    if family == "prompts":
        return _ranked(project, str(round_name))
    if family == "enhancer":
        return _relit(project, artifacts / "enhancer" / str(round_name) / "network.safetensors")
    if family == "select":
        return _relit(project, artifacts / "model" / "model.safetensors")
    if family in ("evaluate", "report"):
        return before_and_after(project)
    return None


def rows(photos: list[list[np.ndarray]]) -> Image.Image:
    """Photos (uint8 HxWx3) of equal height side by side, one list below the other."""
    gap = 4
    fitted = [[_fit(pixels, _HEIGHT) for pixels in row] for row in photos]
    width = max(sum(picture.width + gap for picture in row) for row in fitted) - gap
    sheet = Image.new("RGB", (width, len(photos) * (_HEIGHT + gap) - gap), "white")
    for index, row in enumerate(fitted):
        left = 0
        for picture in row:
            sheet.paste(picture, (left, index * (_HEIGHT + gap)))
            left += picture.width + gap
    return sheet


def _ranked(project: Path, round_name: str) -> Image.Image:
    """What the prompts of a round see in the held-out photos."""
    from cliplit.evaluation.ranking import rank, ranking_picture  # torch takes seconds to import

    params = load_params(project / "params.yaml")
    return ranking_picture(project, rank(params, project, round_name))


def _relit(project: Path, weights: Path) -> Image.Image | None:
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
    before = [np.array(_fit(pixels, 2 * _HEIGHT)) for pixels in before]
    return rows([before, [enhancer.enhance(pixels) for pixels in before]])


def before_and_after(project: Path) -> Image.Image | None:
    """The first pictures of the evaluation's gallery (the worst ones), before above after; None without evaluation."""
    evaluation = project / "artifacts" / "evaluation"
    if not (evaluation / "gallery.json").exists():
        return None
    entries = [entry for entry in read_json(evaluation / "gallery.json") if entry["set"] != "well_lit"][:_SHOWN]
    photos = [
        [read_photo(evaluation / "photos" / entry[side]).pixels for entry in entries] for side in ("before", "after")
    ]
    return rows(photos) if entries else None


def _fit(pixels: np.ndarray, height: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.BOX)
