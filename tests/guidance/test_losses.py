"""Every formula against values worked out by hand."""

import math

import pytest
import torch

from cliplit.guidance.losses import (
    backlit_probability,
    enhancement_loss,
    harm_loss,
    identity_loss,
    log_odds,
    margin_loss,
    prompt_cross_entropy,
    rank_loss,
    smoothness_loss,
)

PROMPTS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # negative along x, positive along y


def unit(degrees: float) -> torch.Tensor:
    """A feature at an angle from the negative prompt: 0 is backlit, 90 well-lit."""
    return torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])


def test_log_odds_is_the_scaled_difference_of_cosines():
    assert log_odds(unit(90), PROMPTS, 10.0).item() == pytest.approx(10.0, abs=1e-5)
    assert log_odds(unit(45), PROMPTS, 10.0).item() == pytest.approx(0.0, abs=1e-5)


def test_backlit_probability_is_the_softmax_of_the_negative_prompt():
    expected = math.exp(2 * math.cos(0.5)) / (math.exp(2 * math.cos(0.5)) + math.exp(2 * math.sin(0.5)))
    assert backlit_probability(unit(math.degrees(0.5)), PROMPTS, 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_prompt_cross_entropy_by_hand():
    features = torch.cat([unit(0), unit(90)])
    expected = math.log(1 + math.exp(-3.0))
    assert prompt_cross_entropy(features, torch.tensor([0, 1]), PROMPTS, 3.0).item() == pytest.approx(expected)
    wrong = math.log(1 + math.exp(3.0))
    assert prompt_cross_entropy(features, torch.tensor([1, 0]), PROMPTS, 3.0).item() == pytest.approx(wrong)


def test_enhancement_loss_keeps_its_gradient_where_the_probability_saturates():
    angle = torch.tensor(0.0, requires_grad=True)
    feature = torch.stack([angle.cos(), angle.sin()])[None]
    enhancement_loss(feature, PROMPTS, 100.0).backward()
    assert angle.grad is not None and angle.grad.item() == pytest.approx(-100.0, rel=1e-3)


def test_identity_loss_is_relative_and_weighted_by_layer():
    before = [torch.full((2, 1, 2, 2), 2.0), torch.full((2, 3, 1, 1), 4.0)]
    after = [before[0] + 1.0, before[1] - 2.0]
    assert identity_loss(after, before, (1.0, 0.5)).item() == pytest.approx(1 / 4 + 0.5 * 4 / 16)
    assert identity_loss(before, before, (1.0, 0.5)).item() == 0


@pytest.mark.parametrize("repeats", [1, 5])
def test_losses_are_per_image_so_the_batch_size_changes_nothing(repeats):
    features = torch.cat([unit(20), unit(50)]).repeat(repeats, 1)
    one = torch.cat([unit(20), unit(50)])
    assert enhancement_loss(features, PROMPTS, 5.0).item() == pytest.approx(
        enhancement_loss(one, PROMPTS, 5.0).item(), rel=1e-5
    )


def test_margin_loss_by_hand():
    assert margin_loss(torch.tensor([0.9]), torch.tensor([0.3]), 0.9).item() == pytest.approx(0.3)
    assert margin_loss(torch.tensor([0.9]), torch.tensor([0.3]), 0.5).item() == 0


def test_rank_loss_with_one_and_two_results_by_hand():
    scale = 4.0
    angles = [10.0, 40.0, 60.0, 85.0]
    p = [backlit_probability(unit(angle), PROMPTS, scale).item() for angle in angles]
    features = [unit(angle) for angle in angles]
    one = max(0, 0.9 - p[0] + p[3]) + max(0, 0.9 - p[0] + p[1]) + max(0, 0.2 - p[1] + p[3])
    assert rank_loss([features[0], features[1], features[3]], PROMPTS, scale).item() == pytest.approx(one, rel=1e-5)
    two = max(0, 0.9 - p[0] + p[3]) + max(0, 0.9 - p[0] + p[1]) + max(0, 0.1 - p[1] + p[2]) + max(0, 0.1 - p[2] + p[3])
    assert rank_loss(features, PROMPTS, scale).item() == pytest.approx(two, rel=1e-5)


def test_rank_loss_wants_the_newest_result_nearest_to_well_lit():
    right = [unit(angle) for angle in (5.0, 30.0, 60.0, 85.0)]
    swapped = [right[0], right[2], right[1], right[3]]
    assert rank_loss(right, PROMPTS, 4.0) < rank_loss(swapped, PROMPTS, 4.0)


def test_rank_loss_refuses_other_counts():
    with pytest.raises(ValueError, match="one or two earlier results"):
        rank_loss([unit(0), unit(90)], PROMPTS, 4.0)


def test_light_may_change_at_edges_only():
    light = torch.ones(1, 1, 8, 8)
    light[..., 4:] = 0.5
    flat, edge = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.1)
    edge[..., 4:] = 0.9
    by_hand = (math.log(2) * 8) ** 2 / 7 / 100  # one of the seven columns of differences holds the step
    assert smoothness_loss(light, flat).item() == pytest.approx(by_hand, rel=1e-4)
    assert smoothness_loss(light, edge).item() == pytest.approx(by_hand * (0.05 / 0.85) ** 2, rel=1e-4)
    assert smoothness_loss(torch.full((1, 1, 8, 8), 0.3), edge).item() == 0


def test_harm_is_one_at_thirty_decibels():
    photo = torch.full((2, 3, 4, 4), 0.5)
    assert harm_loss(photo + 10 ** (-30 / 20), photo).item() == pytest.approx(1.0, rel=1e-4)
