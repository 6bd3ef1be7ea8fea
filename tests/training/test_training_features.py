from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from cliplit.config import load_params
from cliplit.guidance.vlm import resolve_models
from cliplit.training import features as features_module
from cliplit.training.crops import draw_crops
from cliplit.training.dataset import Dataset
from cliplit.training.features import FeatureStore


@pytest.fixture
def store(project) -> FeatureStore:
    vlm, _ = resolve_models(load_params(project / "params.yaml").guidance, torch.device("cpu"))
    return FeatureStore(project / "work" / "features", Dataset(project), vlm, side=64)


class Brighter(torch.nn.Module):
    """Three times the light, everywhere."""

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.full_like(image_BCHW[:, :1], 1 / 3)


def views(store, step=0):
    rows = store.dataset.select("backlit", "train")
    return list(zip(rows, draw_crops(0, "t", step, len(rows)), strict=True))


def test_a_hit_equals_a_recomputation_and_computes_nothing(store, monkeypatch):
    first = store.get(views(store))
    assert torch.allclose(first.norm(dim=1), torch.ones(6), atol=1e-5)
    with monkeypatch.context() as patch:
        patch.setattr(features_module, "cut", lambda *_: pytest.fail("the features were computed again"))
        assert torch.equal(store.get(views(store)), first)
    for path in store.folder.iterdir():
        path.unlink()
    assert torch.equal(store.get(views(store)), first)


def test_other_crops_and_other_networks_are_other_features(store):
    first = store.get(views(store))
    assert not torch.equal(store.get(views(store, step=1)), first)
    brighter = Brighter()
    assert not torch.allclose(store.get(views(store), brighter, "n"), first, atol=1e-3)
    assert len(list(store.folder.glob("*.safetensors"))) == 3


def test_a_changed_photo_and_a_damaged_table_are_computed_again(store, caplog):
    first = store.get(views(store))
    path = next(store.folder.iterdir())
    path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(store.get(views(store)), first)
    assert "computed again" in caplog.text
    photo = store.dataset.folder / views(store)[0][0].photo
    photo.write_bytes((store.dataset.folder / "well_lit/3.jpg").read_bytes())
    fresh = FeatureStore(store.folder, Dataset(store.folder.parents[1]), store.vlm, 64)
    assert not torch.equal(fresh.get(views(fresh)), first)


def test_tables_not_used_for_long_are_removed(store, monkeypatch):
    monkeypatch.setattr(features_module, "_KEPT_TABLES", 2)
    for age, step in enumerate((0, 1, 0, 2)):
        store.get(views(store, step))
        for path in store.folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 10 - age,) * 2)
    assert len(list(store.folder.iterdir())) == 2
    monkeypatch.setattr(features_module, "cut", lambda *_: pytest.fail("a table in use was removed"))
    store.get(views(store, 0))


def test_photos_are_decoded_once_within_the_bound(project, monkeypatch):
    dataset = Dataset(project, cache_bytes=2 * 96 * 120 * 3)
    rows = dataset.select("backlit", "train")
    first = dataset.pixels(rows[0])
    assert dataset.pixels(rows[0]) is first
    dataset.pixels(rows[1]), dataset.pixels(rows[0]), dataset.pixels(rows[2])
    assert dataset.pixels(rows[0]) is first  # used last but one, so still there
    again = dataset.pixels(rows[1])
    assert again.shape == (96, 120, 3) and again.dtype == np.uint8
    assert dataset._used <= 2 * 96 * 120 * 3
