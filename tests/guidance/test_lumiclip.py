"""The light simulator, the captions, pretraining on a handful of photos, and what the shipped prior has learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cliplit.commands.models import models
from cliplit.config import ModelConfig
from cliplit.errors import UserError
from cliplit.guidance.lumiclip import zero_shot
from cliplit.guidance.lumiclip.captions import bank_targets, caption_bank, compose
from cliplit.guidance.lumiclip.conditions import DEFECTS, guided_filter, simulate, to_coded, to_linear
from cliplit.guidance.lumiclip.pretrain import pretrain
from cliplit.guidance.vlm import load_vlm
from cliplit.photos.codecs import save_jpeg

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "train"
WEIGHTS = Path("cliplit/guidance/lumiclip/lumiclip.safetensors")


def test_the_transfer_function_is_srgbs():
    assert to_linear(torch.tensor([0.04045, 0.5, 1.0])).tolist() == pytest.approx([0.0031308, 0.2140, 1.0], abs=1e-4)
    coded = torch.linspace(0, 1, 101)
    assert torch.allclose(to_coded(to_linear(coded)), coded, atol=1e-5)


def test_untouched_photos_have_no_defect_and_touched_ones_have():
    photos = to_linear(torch.rand(256, 3, 24, 24, generator=torch.Generator().manual_seed(0)))
    batch = simulate(photos, torch.zeros(256, dtype=torch.bool), torch.Generator().manual_seed(1))
    same = (batch.linear - photos).abs().flatten(1).amax(1) < 1e-6
    assert 10 < same.sum() < 200
    assert batch.severity[same].sum() == 0
    assert batch.severity.min() >= 0 and batch.severity.max() <= 1
    assert (batch.severity > 0.5).any(0).all(), "every defect must occur"


def test_simulation_is_a_function_of_its_seed():
    photos, none = torch.rand(8, 3, 24, 24), torch.zeros(8, dtype=torch.bool)
    first, second = (simulate(photos, none, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.linear, second.linear) and torch.equal(first.severity, second.severity)


def test_real_dark_photos_keep_their_light_and_are_labelled_by_what_is_bright_in_them():
    dark, half = torch.full((3, 24, 24), 0.01), torch.full((3, 24, 24), 0.01)
    half[:, :12] = 0.8
    batch = simulate(torch.stack([dark, half] * 8), torch.ones(16, dtype=torch.bool), torch.Generator().manual_seed(0))
    backlit, under = (batch.severity[:, DEFECTS.index(name)] for name in ("backlit", "underexposed"))
    assert (under[0::2] == 1).all() and (backlit[0::2] == 0).all()
    assert (backlit[1::2] == 1).all() and (under[1::2] == 0).all()


def test_targets_by_hand():
    severity = torch.zeros(2, len(DEFECTS))
    severity[1, :2] = torch.tensor([0.5, 0.25])
    targets = bank_targets(severity)
    assert targets[0, 0] == 1 and targets[0, 1:].sum() == 0
    good = 0.5 * 0.75
    assert targets[1, :3].tolist() == pytest.approx([good, (1 - good) * 2 / 3, (1 - good) / 3])


def test_captions_name_what_is_wrong():
    severity = torch.zeros(2, len(DEFECTS))
    severity[1, [DEFECTS.index("overexposed"), DEFECTS.index("noisy"), DEFECTS.index("color cast")]] = 0.9
    tint = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.0, -0.8]])
    for seed in range(10):
        good, bad = compose(severity, tint, torch.Generator().manual_seed(seed))
        assert "lit" in good or "exposed" in good
        assert "with noise" in bad and "warm color cast" in bad
    assert caption_bank()[:3] == ["a well-lit photo", "a backlit photo", "an underexposed photo"]


def test_the_guided_filter_keeps_what_its_guide_keeps():
    guide = torch.zeros(1, 1, 32, 32)
    guide[..., 16:] = 1.0
    torch.manual_seed(0)
    smooth = guided_filter(guide, guide + 0.1 * torch.randn_like(guide), radius=4, epsilon=1e-3)
    assert (smooth - guide).abs().mean() < 0.03
    assert smooth[..., 17].mean() - smooth[..., 14].mean() > 0.9


def give_photos(folder):
    """Fourteen dark and fourteen bright photos: one seventh, two of each, is held out."""
    rng = np.random.default_rng(0)
    for role, level in (("backlit", 30), ("well_lit", 130)):
        for number in range(14):
            pixels = rng.normal(level, 20, (60, 80, 3)).clip(0, 255).astype(np.uint8)
            save_jpeg(folder / role / f"{number}.jpg", pixels)


def test_pretraining_writes_weights_that_load(tmp_path):
    give_photos(tmp_path / "photos")
    metrics = pretrain(tmp_path / "photos", tmp_path / "out", steps=2)
    assert metrics["held_out_backlit"] == 2 and 0 <= metrics["accuracy_well_lit"] <= 1
    path = tmp_path / "out" / "lumiclip.safetensors"
    model = load_vlm(ModelConfig("lumiclip", str(path)), torch.device("cpu"))
    assert torch.isfinite(model.encode_texts(["a backlit photo"])).all()
    assert path.stat().st_size < 16e6


def test_too_few_photos_end_in_one_sentence(tmp_path):
    for role in ("backlit", "well_lit"):
        save_jpeg(tmp_path / role / "one.jpg", np.full((40, 40, 3), 90, np.uint8))
    with pytest.raises(UserError, match="too few readable photos; the lighting prior needs at least 14"):
        pretrain(tmp_path, tmp_path / "out", steps=1)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos of ../shared are not here")
def test_the_shipped_prior_knows_light_on_held_out_real_photos():
    metrics = zero_shot.measure(PHOTOS)
    for name in ("real_dark", "well_lit", "underexposed_2_stops", "overexposed_2_stops"):
        assert metrics[f"accuracy_{name}"] >= 0.9, name
    assert metrics["exposure_within_half_a_stop"] >= 0.8


def test_the_shipped_weights_are_small():
    assert (Path(__file__).parents[2] / WEIGHTS).stat().st_size <= 16e6


def test_both_commands_print_the_figures(tmp_path):
    give_photos(tmp_path)
    out = str(tmp_path / "out")
    trained = CliRunner().invoke(models, ["pretrain-lumiclip", "--photos", str(tmp_path), "--steps", "1", "--out", out])
    checked = CliRunner().invoke(
        models, ["check-lumiclip", "--photos", str(tmp_path), "--weights", f"{out}/lumiclip.safetensors"]
    )
    assert trained.exit_code == checked.exit_code == 0

    def figures(output):
        """Names of the rows; weights are stored in half precision, so a close call may end otherwise."""
        return [line.split()[0] for line in output.splitlines() if len(line.split()) == 2]

    assert figures(checked.output) == figures(trained.output)
    assert {"accuracy_well_lit", "exposure_within_half_a_stop"} < set(figures(checked.output))
