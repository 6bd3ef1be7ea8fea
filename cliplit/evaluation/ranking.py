"""What a round's prompts see: held-out photos from the most backlit to the best lit, and those they take wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cliplit.config import Params
from cliplit.enhancer import pick_device
from cliplit.evaluation import charts
from cliplit.guidance.storage import FILE
from cliplit.guidance.targets import load_target
from cliplit.guidance.vlm import resolve_models
from cliplit.photos.codecs import read_photo
from cliplit.training.dataset import Dataset, PhotoRow
from cliplit.training.features import FeatureStore
from cliplit.training.prompts import held_out_views

_BINS = 40
_COLOURS = {"well_lit": charts.GREY, "backlit": charts.ORANGE}


@dataclass(frozen=True)
class Ranked:
    """One held-out photo, and the log odds that a round's prompts give for its being backlit (0: they cannot tell)."""

    row: PhotoRow
    log_odds: float

    @property
    def probability(self) -> float:
        """P(backlit)."""
        return float(1 / (1 + np.exp(-self.log_odds)))

    @property
    def wrong(self) -> float:
        """How far the log odds stand on the wrong side; negative where they are right."""
        return -self.log_odds if self.row.role == "backlit" else self.log_odds


def rank(params: Params, project: Path, round_name: str) -> list[Ranked]:
    """All held-out photos, the most backlit first; their features are those that the stage prompts has kept."""
    vlm, _ = resolve_models(params.guidance, pick_device(params.device))
    target = load_target(project / "artifacts" / "prompts" / round_name / FILE, params.guidance, vlm)
    dataset = Dataset(project)
    store = FeatureStore(project / "work" / "features", dataset, vlm, params.training.crop)
    found: list[Ranked] = []
    for views in held_out_views(dataset):
        with torch.no_grad():
            values = (-target.log_odds(store.get(views))).tolist()
        found += [Ranked(row, value) for (row, _), value in zip(views, values, strict=True)]
    return sorted(found, key=lambda one: -one.log_odds)


def ranking_picture(project: Path, ranked: list[Ranked]) -> Image.Image:
    """Histograms of both roles' log odds, both ends of the ranking, and what is taken wrongly or nearly so."""
    shown = min(charts.SHOWN, (len(ranked) + 1) // 2)  # both ends, no photo in both
    wrong = sum(one.wrong >= 0 for one in ranked)
    told = f"Taken wrongly: {wrong or 'none'} of {len(ranked)}. These are {'the worst' if wrong else 'the least sure'}"
    panels = [
        _panel(project, "Held-out photos that these prompts find most backlit", ranked[:shown], _chart(ranked)),
        _panel(project, "and best lit", ranked[: -shown - 1 : -1]),
        _panel(project, told, sorted(ranked, key=lambda one: -one.wrong)),
    ]
    return charts.column(panels)


def _panel(project: Path, title: str, ranked: list[Ranked], chart: Image.Image | None = None) -> Image.Image:
    shown = ranked[: charts.SHOWN]
    photos = [read_photo(project / "artifacts" / "dataset" / "photos" / one.row.photo).pixels for one in shown]
    labels = [f"log odds {one.log_odds:+.1f}" for one in shown]
    return charts.panel(title, photos, labels, [_COLOURS[one.row.role] for one in shown], chart)


def _chart(ranked: list[Ranked]) -> Image.Image:
    """Where both roles lie between well lit and backlit; the middle is where the prompts cannot tell."""
    most = max(abs(one.log_odds) for one in ranked) or 1.0
    shares = {}
    for role in _COLOURS:
        values = [one.log_odds for one in ranked if one.row.role == role]
        shares[role] = np.histogram(values, _BINS, (-most, most))[0] / len(values)
    ends = (f"well lit, log odds {-most:.1f}", f"backlit, log odds {most:+.1f}")
    return charts.histograms(shares["well_lit"], shares["backlit"], ("well-lit photos", "backlit photos"), ends)
