"""Drift: whether incoming photos are like those of the same role that training has seen.

Two distances, each judged against what as many photos of the training set itself would give, so that a small batch is
not called unlike by chance: the exposure histogram, and the prior's features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cliplit.config import Params, load_params
from cliplit.errors import PhotoError
from cliplit.inbox.journal import Batch
from cliplit.photos.codecs import eight_bit, read_photo, to_srgb
from cliplit.photos.curate import DATASET, load_manifest
from cliplit.photos.importing import ROLES

BINS = 64
NOT_COMPARED = "the photos were not compared: {!r}"
_SIDE = 256  # px; more does not change what is measured
_NEIGHBOURS = 5
_DRAWS = 300
_MOST = 512  # training photos of a role that are looked at
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Photos of one role: names, pixels (uint8 HxWx3), histograms NxBINS that sum to 1, unit features NxD, scenes."""

    names: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    histograms: Floats
    features: Floats
    scenes: tuple[str, ...]


@dataclass(frozen=True)
class Drift:
    """One distance of one role: it is drift when ``distance`` is above ``threshold``; ``each`` is one value a photo."""

    role: str
    what: str
    distance: float
    threshold: float
    each: Floats

    @property
    def drifted(self) -> bool:
        """Whether training should hear of it."""
        return self.distance > self.threshold

    @property
    def sentence(self) -> str:
        """What training should hear."""
        return (
            f"incoming {self.role} photos are unlike the training set in {self.what}: {self.distance:.3f}, "
            f"warned above {self.threshold:.3f}"
        )


@dataclass(frozen=True)
class Compared:
    """One role's incoming photos beside the training set's, and both distances."""

    role: str
    incoming: Measured
    training: Measured
    exposure: Drift
    features: Drift


def warnings_about(project: Path, batch: Batch) -> list[str]:
    """A sentence for each drift of the batch's photos; a comparison that fails is one too, it must cost nothing."""
    try:
        found = compare_batch(project, batch)
    except Exception as error:
        return [NOT_COMPARED.format(error)]
    return [each.sentence for one in found for each in (one.exposure, one.features) if each.drifted]


def compare_batch(project: Path, batch: Batch) -> list[Compared]:
    """The batch's photos against the training set, role by role; roles with too few photos are left out."""
    params = load_params(project / "params.yaml")
    photos = {role: [project / str(one.to) for one in batch.added if one.role == role] for role in ROLES}
    photos = {role: paths for role, paths in photos.items() if len(paths) >= params.inbox.drift.min_photos}
    if not photos or not (project / DATASET / "manifest.csv").is_file():
        return []
    encode = _encoder(params)
    manifest = load_manifest(project)
    new = {one.sha256 for one in batch.added}
    old = manifest[(manifest["split"] == "train") & ~manifest["sha256"].isin(new)]
    found = []
    for role, incoming in photos.items():
        rows = old[old["role"] == role]
        if len(rows) <= _NEIGHBOURS:
            continue
        rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).round().astype(int))]
        training = _measure_rows(project, rows, encode)
        found.append(compare(role, measure(incoming, encode), training, params))
    return found


def compare(role: str, incoming: Measured, training: Measured, params: Params) -> Compared:
    """Both distances; each must also be large enough to matter (the keys of ``inbox.drift`` of their names).

    What chance gives is measured by parting the training set: as many of its photos as came in, against the rest.
    """
    rule, total = params.inbox.drift, len(training.names)
    generator = np.random.default_rng(params.seed)
    count = min(len(incoming.names), total // 2)
    parts = [np.isin(np.arange(total), generator.permutation(total)[:count]) for _ in range(_DRAWS)]
    by_chance = {
        "exposure": [
            wasserstein(training.histograms[part].mean(0), training.histograms[~part].mean(0)) for part in parts
        ],
        "feature": _chance(_cosines(training), parts),
    }
    limits = {name: float(np.quantile(values, 1 - rule.false_alarm)) for name, values in by_chance.items()}
    reference = training.histograms.mean(0)
    exposure = Drift(
        role,
        "exposure",
        wasserstein(incoming.histograms.mean(0), reference),
        max(rule.exposure_distance, limits["exposure"]),
        np.array([wasserstein(histogram, reference) for histogram in incoming.histograms]),
    )
    each = neighbour_distance(incoming.features @ training.features.T)
    features = Drift(role, "content", float(each.mean()), max(rule.feature_distance, limits["feature"]), each)
    return Compared(role, incoming, training, exposure, features)


def neighbour_distance(cosine: Floats) -> Floats:
    """1 - mean cosine to the nearest training photos (the columns), one value in 0..2 a photo (a row)."""
    count = min(_NEIGHBOURS, cosine.shape[1])
    distance: Floats = 1 - np.partition(cosine, -count, axis=1)[:, -count:].mean(1)
    return distance


def _cosines(training: Measured) -> Floats:
    """Cosines among the training photos; those of one scene count as far apart, incoming photos show others."""
    cosine: Floats = training.features @ training.features.T
    names = np.array(training.scenes)
    cosine[names[:, None] == names[None, :]] = -1.0
    return cosine


def _chance(cosine: Floats, parts: list[NDArray[np.bool_]]) -> list[float]:
    """The mean distance of each part of the training set to the rest of it."""
    return [float(neighbour_distance(cosine[part][:, ~part]).mean()) for part in parts]


def wasserstein(one: Floats, other: Floats) -> float:
    """The earth mover's distance of two brightness histograms, 0..1: how far light must move from one to the other.

    W1 = sum |CDF_one - CDF_other| / BINS.
    """
    return float(np.abs(np.cumsum(one) - np.cumsum(other)).sum() / BINS)


def measure(
    paths: list[Path], encode: Callable[[NDArray[np.uint8]], Floats], scenes: tuple[str, ...] | None = None
) -> Measured:
    """Read and measure photos; those that cannot be read any more are left out."""
    names, pixels, histograms, features, kept = [], [], [], [], []
    for index, path in enumerate(paths):
        try:
            small = _small(eight_bit(to_srgb(read_photo(path))).pixels)
        except PhotoError:
            continue
        luma = (small.astype(np.float32) @ _LUMA).clip(0, 255)
        names.append(path.name)
        pixels.append(small)
        histograms.append(np.histogram(luma, BINS, (0, 256))[0] / luma.size)
        features.append(encode(small))
        kept.append(scenes[index] if scenes is not None else path.name)
    return Measured(tuple(names), tuple(pixels), np.array(histograms), np.array(features), tuple(kept))


def _measure_rows(project: Path, rows: pd.DataFrame, encode: Callable[[NDArray[np.uint8]], Floats]) -> Measured:
    folder = project / DATASET / "photos"
    return measure([folder / str(name) for name in rows["photo"]], encode, tuple(map(str, rows["scene"])))


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.array(picture)


def _encoder(params: Params) -> Callable[[NDArray[np.uint8]], Floats]:
    """Photo to unit features of guidance's prompt model."""
    import torch

    from cliplit.enhancer import pick_device
    from cliplit.guidance.vlm import resolve_models

    model, _ = resolve_models(params.guidance, pick_device(params.device))

    def encode(pixels: NDArray[np.uint8]) -> Floats:
        with torch.inference_mode():
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().to(model.device) / 255
            return model.encode_images(image)[0].double().cpu().numpy()

    return encode
