"""What training draws itself: plane areas with an edge, camera noise, and shade."""

from __future__ import annotations

import pytest
import torch

from cliplit.guidance.losses import halo_loss
from cliplit.guidance.lumiclip.conditions import to_linear
from cliplit.training.noise import READ, SHOT, camera_noise
from cliplit.training.plateaus import draw_plateaus
from cliplit.training.shade import MOST_STOPS, shaded


def test_plateaus_hold_two_levels_far_enough_apart_and_are_drawn_from_the_seed() -> None:
    image, bright = draw_plateaus(16, 64, seed=3)
    again, _ = draw_plateaus(16, 64, seed=3)
    assert torch.equal(image, again)
    assert not torch.equal(image, draw_plateaus(16, 64, seed=4).image)
    assert image.shape == (16, 3, 64, 64) and image.min() >= 0 and image.max() <= 1
    for picture, area in zip(image, bright, strict=True):
        if 0.05 < area.mean() < 0.95:
            level = picture.mean(0, keepdim=True)
            assert level[area > 0].median() > level[area == 0].median() + 0.1


def test_halo_loss_is_zero_for_a_gain_by_tone_and_counts_what_depends_on_the_place() -> None:
    _, bright = draw_plateaus(4, 64, seed=0)
    by_tone = torch.where(bright > 0, 0.9, 0.3)
    assert halo_loss(by_tone, bright) < 1e-10
    halo = by_tone * torch.linspace(0.8, 1.25, 64).view(1, 1, 1, -1)
    wider = by_tone * torch.linspace(0.64, 1.5625, 64).view(1, 1, 1, -1)
    assert halo_loss(wider, bright) > 3 * halo_loss(halo, bright) > 1e-3


def test_camera_noise_has_the_variance_that_it_states() -> None:
    grey = torch.full((64, 3, 64, 64), 0.3)
    noisy = camera_noise(grey, 1.0, seed=1)
    assert torch.equal(noisy, camera_noise(grey, 1.0, seed=1))
    light = to_linear(grey)[0, 0, 0, 0]
    measured = to_linear(noisy).var(dim=(1, 2, 3))
    # a is uniform in 0..1, so a^2 averages a third.
    assert torch.isclose(measured.mean(), (SHOT * light + READ) / 3, rtol=0.25)
    assert measured.min() < 0.05 * measured.max()


def test_camera_noise_leaves_the_other_share_of_the_photos_alone() -> None:
    grey = torch.full((64, 3, 16, 16), 0.3)
    assert camera_noise(grey, 0.0, seed=1) is grey
    changed = (camera_noise(grey, 0.25, seed=1) - grey).abs().amax((1, 2, 3)) > 1e-4
    assert 6 <= int(changed.sum()) <= 26


def test_shade_takes_light_and_never_gives_any() -> None:
    fair = torch.rand(8, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    dark = shaded(fair, seed=3)
    assert torch.equal(dark, shaded(fair, seed=3)) and not torch.equal(dark, shaded(fair, seed=4))
    assert (dark <= fair + 0.5 / 255 + 1e-6).all() and torch.allclose(dark * 255, (dark * 255).round(), atol=1e-4)


def test_shade_falls_on_whole_photos_and_on_parts_in_turn() -> None:
    fair = torch.full((40, 3, 32, 32), 0.9)
    fair[..., :16] = 0.5
    lost = (to_linear(fair) / to_linear(shaded(fair, seed=1))).log2().mean(1)
    spread = lost.flatten(1).amax(1) - lost.flatten(1).amin(1)
    assert spread[::2].max() < 0.15  # the same everywhere but for the rounding
    assert spread[1::2].median() > 0.5
    assert lost[::2].mean() == pytest.approx(MOST_STOPS / 2, abs=0.2) and lost.amax() <= MOST_STOPS + 0.1
