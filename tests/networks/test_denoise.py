"""Noise in shadows: found where it is, smoothed before it is lifted, and detail left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cliplit.networks.denoise import LEAST_NOISE, MOST_NOISE, calm_shadows, noise_level


def _photo(noise: float, level: float = 0.1, side: int = 256) -> np.ndarray:
    """A dark ramp with white noise of the given deviation, float32 H x W x 3."""
    ramp = np.linspace(0.7, 1.3, side, dtype=np.float32)[None, :, None] * level
    grain = np.random.default_rng(0).normal(0, noise, (side, side, 3))
    return np.clip(ramp + grain, 0, 1).astype(np.float32)


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@pytest.mark.parametrize("levels", [3.0, 4.5, 6.0])
def test_noise_of_the_shadows_is_found_to_a_quarter(levels: float) -> None:
    # Equal independent noise in three channels is weaker in luma: the root of the weights' squares.
    luma = levels / 255 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    found = noise_level(_photo(levels / 255))
    assert found == pytest.approx(max(luma, LEAST_NOISE), rel=0.25)


def test_noise_level_means_the_same_in_every_depth() -> None:
    photo = _photo(5 / 255)
    eight, sixteen = np.round(photo * 255).astype(np.uint8), np.round(photo * 65535).astype(np.uint16)
    assert noise_level(eight) == pytest.approx(noise_level(photo), rel=0.1)
    assert noise_level(sixteen) == pytest.approx(noise_level(photo), rel=0.01)


def test_noise_level_is_bounded_and_defined_for_every_photo() -> None:
    texture = np.random.default_rng(0).uniform(0, 0.25, (200, 200, 3)).astype(np.float32)
    assert noise_level(texture) == MOST_NOISE
    for odd in (np.zeros((1, 500, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8), np.zeros((300, 3, 3), np.uint8)):
        assert noise_level(odd) == LEAST_NOISE


def test_lifted_noise_is_halved_and_detail_kept() -> None:
    noise = 3 / 255
    clean, noisy = _photo(0), _photo(noise)
    gain = torch.full((1, 1, 256, 256), 6.0)
    left = (calm_shadows(_tensor(noisy), gain, noise_level(noisy)) - _tensor(clean)).std()
    assert left < 0.55 * noise

    edge = clean.copy()
    edge[:, 128:] += 0.1  # a step of 25 levels in the shadow
    calm = calm_shadows(_tensor(edge), gain, LEAST_NOISE)
    assert (calm - _tensor(edge)).abs().max() < 0.1 * 0.05


def test_nothing_changes_where_nothing_is_lifted() -> None:
    noisy = _tensor(_photo(3 / 255))
    assert torch.equal(calm_shadows(noisy, torch.ones(1, 1, 256, 256), 3 / 255), noisy)
    assert torch.equal(calm_shadows(noisy, torch.full((1, 1, 256, 256), 0.9), 3 / 255), noisy)
