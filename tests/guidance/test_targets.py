"""The kinds of guidance: what each aims at, by hand, and the one file that a round's target lies in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.guidance.losses import RESIDUAL_SCALE
from cliplit.guidance.lumiclip.captions import caption_bank, compose
from cliplit.guidance.lumiclip.conditions import DEFECTS
from cliplit.guidance.prompts import LatentPair, PromptPair
from cliplit.guidance.residual import WORDS, Residual, aligned_words
from cliplit.guidance.targets import PairTarget, ResidualTarget, load_target, start_pair
from cliplit.guidance.vlm import EMBEDDED, load_vlm

CPU = torch.device("cpu")
GUIDANCE = load_params().guidance


@pytest.fixture(scope="module")
def lumiclip():
    return load_vlm(EMBEDDED, CPU)


def unit(*values: float) -> torch.Tensor:
    return F.normalize(torch.tensor(values, dtype=torch.float32), dim=0)


def test_the_residual_points_from_the_mean_backlit_to_the_mean_well_lit_photo():
    backlit = torch.stack([unit(1, 0.2, 0), unit(1, -0.2, 0)])
    well_lit = torch.stack([unit(0, 0.3, 1), unit(0, -0.3, 1)])
    residual = Residual.between(backlit, well_lit)
    half = 2**-0.5
    assert torch.allclose(residual.direction, torch.tensor([-half, 0, half]), atol=1e-6)
    assert residual.well_lit.item() == pytest.approx(half) and residual.backlit.item() == pytest.approx(-half)


def test_residual_loss_is_the_squared_distance_in_units_of_the_classes_distance():
    residual = Residual(unit(0, 1), torch.tensor(0.8), torch.tensor(0.2))
    target = ResidualTarget(residual, 10.0)
    at = torch.tensor([[0.6, 0.8], [(1 - 0.04) ** 0.5, 0.2], [(1 - 0.25) ** 0.5, 0.5]])
    assert [target.loss(row[None]).item() for row in at] == pytest.approx(
        [0, RESIDUAL_SCALE, RESIDUAL_SCALE / 4], abs=1e-5
    )
    assert target.loss(at).item() == pytest.approx(RESIDUAL_SCALE * 1.25 / 3, rel=1e-5)
    beyond = torch.tensor([[0.0, 1.0]])  # more than well-lit is too much, unlike with a pair
    assert target.loss(beyond).item() == pytest.approx(RESIDUAL_SCALE / 9, rel=1e-5)


def test_log_odds_of_a_residual_are_those_of_the_two_means():
    torch.manual_seed(0)
    backlit, well_lit = (F.normalize(torch.randn(1, 8) + 0.3 * torch.randn(20, 8), dim=1) for _ in range(2))
    target = ResidualTarget(Residual.between(backlit, well_lit), 7.0)
    means = F.normalize(torch.stack([backlit.mean(0), well_lit.mean(0)]), dim=1)
    features = F.normalize(torch.randn(5, 8), dim=1)
    assert torch.allclose(target.log_odds(features), PairTarget(means, 7.0).log_odds(features), atol=1e-5)


def test_shifting_removes_what_the_words_at_both_ends_have_in_common_by_hand():
    residual = Residual(unit(1, 0, 0), torch.tensor(0.9), torch.tensor(-0.9))
    words = ["sky", "cave", "cat", "dog"]
    features = torch.stack([unit(1, 1, 0), unit(-1, 2, 0), unit(0.1, 0, 1), unit(-0.1, 0, 1)])
    most, least, removed = aligned_words(residual, words, features)
    assert most == ["sky", "cat"] and least == ["cave", "dog"]
    scores = features @ residual.direction
    ends = [F.normalize((scores[i] * features[i] + scores[j] * features[j]) / 2, dim=0) for i, j in ((0, 2), (1, 3))]
    assert torch.allclose(removed, F.normalize(ends[0] + ends[1], dim=0), atol=1e-6)
    shifted = residual.without(removed, torch.stack([unit(-1, 0.5, 0)]), torch.stack([unit(1, 0, 0.5)]))
    assert shifted.direction @ removed == pytest.approx(0, abs=1e-6)
    assert shifted.direction.norm().item() == pytest.approx(1)
    assert shifted.well_lit > shifted.backlit


def test_lumiclips_vocabulary_is_what_its_captions_are_written_in(lumiclip):
    words = lumiclip.vocabulary()
    severity = torch.rand(300, len(DEFECTS), generator=torch.Generator().manual_seed(0))
    tint = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))
    texts = compose(severity, tint, torch.Generator().manual_seed(2)) + caption_bank()
    assert {word.strip(",") for text in texts for word in text.split()} - {"a", "an"} <= set(words)
    assert len(words) > 2 * WORDS, "each end has words of its own"


def test_short_texts_have_the_features_of_whole_contexts(lumiclip):
    words = lumiclip.vocabulary()[:7]
    assert torch.allclose(lumiclip.encode_words(words), lumiclip.encode_texts(list(words)), atol=1e-5)


def test_the_vocabulary_of_other_models_is_their_tokenizers(lumiclip):
    from cliplit.guidance.vlm import VisionLanguageModel

    words = VisionLanguageModel(lumiclip.clip, lumiclip.tokenizer, "").vocabulary()
    assert len(words) > 30000 and {"sunset", "dark", "kitchen"} <= set(words)


def test_latent_vectors_start_at_random_and_need_no_text(lumiclip, monkeypatch):
    monkeypatch.setattr(type(lumiclip), "encode_prompts", lambda *_: pytest.fail("text was encoded"))
    torch.manual_seed(0)
    pair = start_pair(replace(GUIDANCE, kind="latent"), lumiclip)
    assert isinstance(pair, LatentPair) and pair.negative.shape == (lumiclip.feature_width,)
    features = pair.features(lumiclip)
    assert torch.allclose(features.norm(dim=1), torch.ones(2)) and abs(features[0] @ features[1]) < 0.5


@pytest.mark.parametrize("written", ["prompts", "latent", "residual"])
@pytest.mark.parametrize("asked", ["prompts", "latent", "residual", "residual_shifted", "ours"])
def test_a_target_is_read_back_and_another_kind_is_refused(lumiclip, tmp_path, written, asked):
    path = tmp_path / "prompts.safetensors"
    torch.manual_seed(0)
    features = F.normalize(torch.randn(6, lumiclip.feature_width), dim=1)
    made = {
        "prompts": lambda: PromptPair.start(lumiclip, GUIDANCE),
        "latent": lambda: LatentPair.start(lumiclip),
        "residual": lambda: Residual.between(features[:3], features[3:]),
    }[written]()
    made.save(path)
    first = path.read_bytes()
    made.save(path)
    assert path.read_bytes() == first
    form = {"residual_shifted": "residual", "ours": "prompts"}.get(asked, asked)
    if form != written:
        with pytest.raises(UserError, match=r"prompts.safetensors: .*another guidance.kind.*learn it anew"):
            load_target(path, replace(GUIDANCE, kind=asked), lumiclip)
        return
    target = load_target(path, replace(GUIDANCE, kind=asked), lumiclip)
    assert not target.log_odds(features).requires_grad
    expected = ResidualTarget(made, lumiclip.logit_scale) if written == "residual" else None
    expected = expected or PairTarget(made.features(lumiclip).detach(), lumiclip.logit_scale)
    assert torch.allclose(target.log_odds(features), expected.log_odds(features), atol=1e-5)
    assert target.loss(features).item() == pytest.approx(expected.loss(features).item(), rel=1e-5)


def test_a_target_learned_for_a_model_of_another_width_is_refused(lumiclip, tmp_path):
    path = tmp_path / "prompts.safetensors"
    Residual.between(torch.eye(7)[:3], torch.eye(7)[3:]).save(path)
    with pytest.raises(UserError, match="another model than guidance.prompt_model"):
        load_target(path, replace(GUIDANCE, kind="residual"), lumiclip)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_target(path, GUIDANCE, lumiclip)


def test_dense_scores_tell_the_dark_half_of_a_photo_from_the_bright_one(lumiclip):
    from cliplit.guidance.light import NamedLight
    from cliplit.guidance.lumiclip.conditions import to_coded, to_linear
    from cliplit.photos.demo import render_photo

    light = NamedLight.from_config(lumiclip, GUIDANCE)
    gaps = []
    for number in range(3):
        photo = torch.from_numpy(render_photo("well_lit", 0, number).copy()).permute(2, 0, 1)[None].float() / 255
        for flip in (False, True):
            linear = to_linear(photo.flip(-1) if flip else photo)
            linear[..., : photo.shape[-1] // 2] *= 0.1
            dense = lumiclip.dense_features(to_coded(linear))
            side = round(dense.shape[1] ** 0.5)
            values = light.log_probability(dense[0]).view(side, side)
            gaps.append(float(values[:, -(side // 2) :].mean() - values[:, : side // 2].mean()))
    assert min(gaps) > 0 and sum(gaps) / len(gaps) > 1, gaps
