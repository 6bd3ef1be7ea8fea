"""The stages under each kind of guidance, and the loss of the default kind as it always was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from cliplit.config import ModelConfig, load_params
from cliplit.errors import UserError
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import VisionLanguageModel, load_vlm
from cliplit.networks import enhance
from cliplit.stages import run_stage
from cliplit.training import objective as objective_module
from cliplit.training.objective import Objective, Pictures
from cliplit.training.plateaus import draw_plateaus

CPU = torch.device("cpu")
BAD = ("a backlit photo", "an underexposed photo", "an overexposed photo", "a hazy photo", "a noisy photo")
#: What the loss and its terms were at commit 904b042, before there were kinds; networks/gain.py takes part in them.
EARLIER = {
    "loss": 2.51483,
    "prompt": 1.12065,
    "bad_light": 2.86542,
    "region": 2.87082,
    "identity": 0.257493,
    "smoothness": 0.000108939,
    "harm": 2.33054,
    "brightening": 0.12416,
}


def set_guidance(project: Path, **changes) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["guidance"] |= changes
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def learned(project: Path, round_name: str) -> dict[str, torch.Tensor]:
    return load_file(project / "artifacts" / "prompts" / round_name / "prompts.safetensors")


class Halved(torch.nn.Module):
    """Light at half where the photo is dark, at one where it is bright."""

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.5 * image_BCHW.mean(1, keepdim=True)


def objective(weights: Path, folder: Path, **changes) -> Objective:
    model = ModelConfig("lumiclip", str(weights))
    named = {"prompt_weight": 0.25, "bad_light_weight": 0.25, "region_weight": 0.5, "identity_weight": 0.05}
    fixed = {
        "smoothness_weight": 1.0,
        "harm_weight": 0.03,
        "recovery_weight": 0.0,
        "halo_weight": 0.0,
        "bad_light": BAD,
        "positive_text": "a well-lit photo",
    }
    guidance = replace(load_params().guidance, prompt_model=model, identity_model=model, **named, **fixed, kind="ours")
    path = folder / "prompts.safetensors"
    PromptPair.start(load_vlm(model, CPU), replace(guidance, negative_text="a backlit photo")).save(path)
    return Objective(replace(guidance, **changes), path, CPU)


def relit(of: Objective) -> dict[str, float]:
    backlit, well_lit = (
        torch.linspace(low, high, 3 * 40 * 48).view(1, 3, 40, 48) for low, high in ((0, 0.4), (0.3, 1))
    )
    plateaus = draw_plateaus(2, 32, seed=0)
    terms = of.relight(
        Halved(), Pictures(torch.cat([backlit, backlit.flip(-1)]), well_lit, well_lit.square(), plateaus)
    )
    return {name: float(value.detach()) for name, value in terms.items()}


def test_the_default_kind_has_the_losses_it_always_had(weights, tmp_path):
    terms = relit(objective(weights, tmp_path))
    assert {name: terms[name] for name in EARLIER} == pytest.approx(EARLIER, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("kind", ["prompts", "latent", "residual", "residual_shifted"])
def test_named_light_counts_under_ours_only(weights, tmp_path, kind, monkeypatch):
    of = objective(weights, tmp_path)
    monkeypatch.setattr(objective_module, "load_target", lambda *_: of.target)
    terms = relit(Objective(replace(of.config, kind=kind), tmp_path / "none", CPU))
    assert set(terms) == {"loss", "prompt", "identity", "smoothness", "harm", "halo", "brightening"}
    by_hand = 0.25 * terms["prompt"] + 0.05 * terms["identity"] + terms["smoothness"] + 0.03 * terms["harm"]
    assert terms["loss"] == pytest.approx(by_hand, rel=1e-5)


def test_a_term_without_weight_is_not_computed(weights, tmp_path, monkeypatch):
    of = objective(weights, tmp_path, region_weight=0.0)
    monkeypatch.setattr(objective_module, "regions", lambda *_: pytest.fail("regions were cut out"))
    assert "region" not in relit(of) and "bad_light" in relit(of)


def test_what_was_put_in_shade_is_held_against_the_photo_itself(weights, tmp_path):
    terms = relit(objective(weights, tmp_path, recovery_weight=0.5))
    shaded = torch.linspace(0.3, 1, 3 * 40 * 48).view(1, 3, 40, 48).square()
    known = 1000 * (enhance(Halved(), shaded) - shaded.sqrt()).square().mean()
    assert terms["recovery"] == pytest.approx(float(known), rel=0.05)  # but for the calming of shadows
    without = relit(objective(weights, tmp_path))
    assert "recovery" not in without
    assert terms["loss"] - without["loss"] == pytest.approx(0.5 * terms["recovery"], rel=1e-4)


def test_dense_parts_are_scored_without_windows(weights, tmp_path, monkeypatch):
    of = objective(weights, tmp_path, local="dense")
    monkeypatch.setattr(objective_module, "regions", lambda *_: pytest.fail("regions were cut out"))
    assert relit(of)["region"] > 0


def test_dense_parts_are_refused_of_a_model_that_has_none(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(VisionLanguageModel, "has_dense_features", False)
    with pytest.raises(UserError, match="'guidance.local' is 'dense'.*use windows"):
        objective(weights, tmp_path, local="dense")


def test_latent_vectors_learn_at_their_own_rate_and_are_ranked(project):
    set_guidance(project, kind="latent", latent_learning_rate=0.02)
    run_stage("prompts", "0", project)
    metrics = json.loads((project / "artifacts/metrics/prompts_0.json").read_text())
    assert metrics["val_accuracy"] == 1.0 and metrics["val_margin"] > 0.2
    first = learned(project, "0")
    assert first["negative"].ndim == 1
    run_stage("enhancer", "0", project)
    run_stage("prompts", "1", project)
    assert not torch.equal(learned(project, "1")["negative"], first["negative"])
    set_guidance(project, latent_learning_rate=1e30)
    with pytest.raises(UserError, match=r"lower the key 'guidance.latent_learning_rate', which is 1e\+30"):
        run_stage("prompts", "0", project)


@pytest.mark.parametrize("kind", ["residual", "residual_shifted"])
def test_a_residual_is_computed_once_and_kept(project, kind):
    set_guidance(project, kind=kind)
    run_stage("prompts", "0", project)
    folder = project / "artifacts" / "prompts"
    first = (folder / "0" / "prompts.safetensors").read_bytes()
    assert learned(project, "0")["direction"].norm().item() == pytest.approx(1, abs=1e-5)
    assert len((project / "artifacts/plots/prompts_0.csv").read_text().splitlines()) == 2
    words = folder / "0" / "words.json"
    assert words.is_file() == (kind == "residual_shifted")
    if words.is_file():
        said = json.loads(words.read_text())
        assert [len(said[end]) for end in ("most_aligned", "least_aligned")] == [15, 15]
    run_stage("enhancer", "0", project)
    run_stage("prompts", "1", project)
    assert (folder / "1" / "prompts.safetensors").read_bytes() == first
    run_stage("prompts", "0", project)
    assert (folder / "0" / "prompts.safetensors").read_bytes() == first
    run_stage("enhancer", "1", project)


def test_a_round_refuses_what_another_kind_left(project):
    run_stage("prompts", "0", project)
    set_guidance(project, kind="residual")
    with pytest.raises(UserError, match="another guidance.kind"):
        run_stage("enhancer", "0", project)
