"""The unpaired criterion: its formula by hand, and sensible orders under the embedded prior."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cliplit.evaluation import criterion, metrics
from cliplit.evaluation.compare import gamma
from cliplit.guidance import vlm as models
from cliplit.guidance.light import NamedLight

LUMICLIP = Path(models.__file__).parent / "lumiclip" / "lumiclip.safetensors"


def scenes(count=6, size=96):
    """Two-tone scenes with texture: dark ground before a bright sky, as backlit photos are."""
    rows, columns = np.mgrid[0:size, 0:size]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        ground = 14 + 9 * np.sin(columns / (3 + seed)) * np.sin(rows / 4) + rng.normal(0, 1.5, (size, size))
        sky = 190 + 20 * np.cos(rows / 11)
        mask = rows > size * (0.3 + 0.05 * seed)
        tint = np.array([1.0, 0.9 + 0.02 * seed, 0.8])
        yield (np.where(mask, ground, sky)[..., None] * tint).clip(0, 255).astype(np.uint8)


def test_score_by_hand(encoder, light):
    x = np.random.default_rng(0).integers(40, 60, (40, 40, 3)).astype(np.uint8)
    y = x * 2
    well = np.full((8, 8, 3), 100, np.uint8)
    moved = np.full((8, 8, 3), 120, np.uint8)
    result = criterion.score([y], [x], [moved], [well], light, encoder)
    light_y = -40 * (y.mean() / 255 - 0.5) ** 2
    harm = (30 - metrics.psnr(moved, well)) / 10
    assert result["light"] == pytest.approx(light_y, abs=1e-5)
    assert result["clipping"] == 0
    assert result["harm"] == pytest.approx(harm)
    expected = light_y - criterion.STRUCTURE * (1 - metrics.structure(x, y)) - criterion.HARM * harm
    assert result["score"] == pytest.approx(expected, abs=1e-5)


def test_clipping_counts_only_what_grew(encoder, light):
    x = np.full((10, 10, 3), 128, np.uint8)
    y = x.copy()
    y[:, :3] = 255
    (grown,) = criterion.judge([y], [x], light, encoder)
    (shrunk,) = criterion.judge([x], [y], light, encoder)
    assert grown.clipping == pytest.approx(0.3)
    assert shrunk.clipping == 0
    assert grown.value == pytest.approx(grown.light - 4 * (1 - grown.structure) - 10 * 0.3)


def test_identity_costs_nothing_but_its_light(encoder, light):
    photos = list(scenes())
    result = criterion.score(photos, photos, photos, photos, light, encoder)
    assert result["score"] == pytest.approx(result["light"])
    assert (result["structure"], result["clipping"], result["harm"]) == (pytest.approx(1), 0, 0)


def test_harm_begins_below_thirty_decibels():
    judgement = criterion.Judgement(-1.0, 1.0, 0.0, -1.0)
    assert criterion.summary([judgement], [30.0, 45.0])["score"] == -1.0
    assert criterion.summary([judgement], [20.0, 30.0])["score"] == pytest.approx(-1.5)


def test_each_photo_is_judged_alone_and_in_order(encoder, light):
    photos = list(scenes())
    together = criterion.judge(photos, photos, light, encoder)
    assert together[::-1] == criterion.judge(photos[::-1], photos[::-1], light, encoder)
    with pytest.raises(ValueError):
        criterion.judge(photos, photos[:-1], light, encoder)


@pytest.mark.skipif(not LUMICLIP.is_file(), reason="the embedded weights of lumiclip are not there yet")
def test_the_embedded_prior_orders_sensibly(params):
    prior, _ = models.resolve_models(params.guidance, torch.device("cpu"))
    named = NamedLight.from_config(prior, params.guidance)
    photos = list(scenes())

    def scored(change):
        return criterion.score([change(x) for x in photos], photos, photos, photos, named, prior)["score"]

    identity = scored(lambda x: x)
    brightened = scored(lambda x: gamma(x, 0.5))
    white = scored(lambda x: np.full_like(x, 255))
    black = scored(np.zeros_like)
    assert brightened > identity > white
    assert identity > black
