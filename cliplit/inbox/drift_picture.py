"""What drift looks like: both histograms of each role, and the incoming photos most unlike the training set."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cliplit.evaluation import charts
from cliplit.inbox.drift import Compared, Drift


def exposure_picture(found: list[Compared]) -> Image.Image:
    """Brightness histograms of training and incoming photos, and the photos whose own are farthest off."""
    return charts.column([_exposure(one) for one in found])


def features_picture(found: list[Compared]) -> Image.Image:
    """The incoming photos that the prior finds farthest from the training set, with their distances."""
    return charts.column([_panel(one, one.features, None) for one in found])


def _exposure(one: Compared) -> Image.Image:
    histograms = one.training.histograms.mean(0), one.incoming.histograms.mean(0)
    chart = charts.histograms(*histograms, names=("training set", "incoming"), ends=("dark", "bright"))
    return _panel(one, one.exposure, chart)


def _panel(one: Compared, drift: Drift, chart: Image.Image | None) -> Image.Image:
    """A title, a chart where there is one, and the most unlike photos."""
    verdict = "UNLIKE the training set" if drift.drifted else "like the training set"
    title = f"{one.role}: {verdict}; distance {drift.distance:.3f}, warned above {drift.threshold:.3f}"
    order = [int(index) for index in np.argsort(-drift.each, kind="stable")[: charts.SHOWN]]
    labels = [f"{drift.each[index]:.3f} {one.incoming.names[index][:14]}" for index in order]
    return charts.panel(title, [one.incoming.pixels[index] for index in order], labels, chart=chart)
