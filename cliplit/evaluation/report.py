"""Stage report: one self-contained HTML page with the figures, the curves and the pictures."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from cliplit.config import Params
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.evaluation import compare, criterion, metrics
from cliplit.evaluation.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, curve
from cliplit.evaluation.heldout import DATASET, PAIRS
from cliplit.evaluation.select import IDENTITY, network_file
from cliplit.files import read_json, write_text

ROUND_SIDE = 400
ROUND_QUALITY = 82
SETS = {"backlit": "held-out backlit photo", "pairs": "pair with a reference", "well_lit": "held-out well-lit photo"}
METHOD_NAMES = {
    "input": "the photo as it is",
    "ours": "this model",
    "fixed_gamma": f"fixed gamma {compare.FIXED_GAMMA}",
    "gamma_to_mean": "gamma to the mean level of well-lit photos",
}
FIGURES = {
    "light_before": "Log probability of good light, before",
    "light_after": "Log probability of good light, after",
    "value_gain": "Gain of the criterion a photo",
    "structure": "Structure kept (1 is all)",
    "level_before": "Mean level, before (0 to 1)",
    "level_after": "Mean level, after (0 to 1)",
    "clipped_high_before": "Share clipped bright, before",
    "clipped_high_after": "Share clipped bright, after",
    "clipped_low_before": "Share clipped dark, before",
    "clipped_low_after": "Share clipped dark, after",
    "harm_psnr_db": "Well-lit photos against themselves, dB (30 is harmless)",
}


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over ``n`` photos."""

    name: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Method:
    """A row of the table on pairs."""

    name: str
    ours: bool
    psnr: Estimate
    ssim: Estimate


@dataclass(frozen=True)
class RoundPicture:
    """What one round makes of the photo that is followed through all rounds."""

    name: str
    chosen: bool
    score: float | None
    image: str


def run(params: Params, project: Path) -> None:
    """Write artifacts/report/report.html; raises UserError naming the stage to run when an input is missing."""
    artifacts = project / "artifacts"
    figures = _read(artifacts / "metrics" / "evaluation.json", "evaluate")
    gallery = _read(artifacts / "evaluation" / "gallery.json", "evaluate")
    choice = _read(artifacts / "model" / "choice.json", "select")
    photos = artifacts / "evaluation" / "photos"
    followed = _followed(gallery)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        figures=figures,
        choice=choice,
        weights={"structure": criterion.STRUCTURE, "clipping": criterion.CLIPPING, "harm": criterion.HARM},
        identity=IDENTITY,
        estimates=[_estimate(figures, key, name) for key, name in FIGURES.items() if key in figures],
        methods=_methods(figures),
        curves=_curves(params, project),
        frame={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        gallery=[_embedded(picture, photos) for picture in gallery],
        followed=followed["photo"] if followed else "",
        rounds=_rounds(params, project, followed, choice) if followed else [],
    )
    write_text(artifacts / "report" / "report.html", page)


def _read(path: Path, stage: str) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; run the stage {stage} first")
    return read_json(path)


def _estimate(figures: dict[str, float], key: str, name: str) -> Estimate:
    return Estimate(name, figures[key], figures[f"{key}_low"], figures[f"{key}_high"], round(figures[f"{key}_n"]))


def _methods(figures: dict[str, float]) -> list[Method]:
    """The table on pairs; empty when there were none."""
    if not figures["pairs_n"]:
        return []
    return [
        Method(
            name,
            key == "ours",
            _estimate(figures, f"pairs_psnr_{key}", name),
            _estimate(figures, f"pairs_ssim_{key}", name),
        )
        for key, name in METHOD_NAMES.items()
    ]


def _curves(params: Params, project: Path) -> list[Curve]:
    """Both phases of every round, in the order they were trained."""
    plots = project / "artifacts" / "plots"
    titles = [
        (f"{stage}_{name}.csv", f"Round {name}: {stage}")
        for name in params.round_names
        for stage in ("prompts", "enhancer")
    ]
    drawn = (curve(plots / file, title) for file, title in titles)
    return [each for each in drawn if each is not None]


def _embedded(picture: dict[str, Any], photos: Path) -> dict[str, Any]:
    """The picture with its files as data URIs, and its size so that the page does not jump while it loads."""
    uris = {key: _uri((photos / picture[key]).read_bytes()) for key in ("before", "after", "reference") if picture[key]}
    with Image.open(photos / picture["before"]) as image:
        width, height = image.size
    return {**picture, "reference": None, **uris, "kind": SETS[picture["set"]], "width": width, "height": height}


def _followed(gallery: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The photo whose rounds are shown: an ordinary backlit one where there is one."""
    backlit = [picture for picture in gallery if picture["set"] == "backlit"]
    ordinary = [picture for picture in backlit if not picture["worst"]]
    return next(iter(ordinary or backlit), None)


def _rounds(params: Params, project: Path, followed: dict[str, Any], choice: dict[str, Any]) -> list[RoundPicture]:
    """The followed photo as it was, and as every round's network relights it."""
    folder = project / (PAIRS / "backlit" if followed["set"] == "pairs" else DATASET / "photos")
    before = metrics.load(folder / followed["photo"], ROUND_SIDE)
    scores = choice["scores"]
    pictures = [RoundPicture("before", False, scores[IDENTITY]["score"], _uri(_jpeg(before)))]
    for name in params.round_names:
        after = Enhancer.load(network_file(project, name), params.device).enhance(before)
        pictures.append(
            RoundPicture(f"round {name}", name == choice["round"], scores[name]["score"], _uri(_jpeg(after)))
        )
    return pictures


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=ROUND_QUALITY)
    return buffer.getvalue()


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
