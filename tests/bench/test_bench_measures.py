"""Each figure against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cliplit.bench import baselines, fusion, measures
from cliplit.evaluation import compare, metrics


def flat(*colour: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), colour if len(colour) == 3 else colour * 3, np.uint8)


def scene(seed: int = 0) -> np.ndarray:
    """A smooth coloured picture from black to white."""
    rows, columns = np.mgrid[0:80, 0:120] / 40
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    planes = [0.5 + 0.5 * np.sin(rows * (1 + k) + columns + phase[k]) for k in range(3)]
    return np.round(255 * np.stack(planes, 2)).astype(np.uint8)


def test_exposure_error_is_the_distance_of_patches_from_point_six() -> None:
    assert measures.exposure_error(flat(153)) == pytest.approx(0)
    assert measures.exposure_error(flat(51)) == pytest.approx(0.4)
    half = flat(153)
    half[:, 32:] = 255
    assert measures.exposure_error(half) == pytest.approx(0.2)
    assert measures.exposure_error(flat(51, size=8)) == pytest.approx(0.4)


def test_well_exposedness_is_mertens_formula() -> None:
    assert measures.well_exposedness(flat(0)) == pytest.approx(math.exp(-3 * 0.25 / 0.08), rel=1e-4)
    one_channel = math.exp(-((51 / 255 - 0.5) ** 2) / 0.08)
    assert measures.well_exposedness(flat(51)) == pytest.approx(one_channel**3, rel=1e-4)


def test_hue_error_of_a_turned_wheel() -> None:
    assert measures.hue_error(flat(200, 0, 0), flat(0, 200, 0)) == pytest.approx(120)
    assert measures.hue_error(flat(200, 0, 0), flat(200, 200, 0)) == pytest.approx(60)
    assert measures.hue_error(flat(200, 0, 10), flat(200, 10, 0)) == pytest.approx(2 * 2.5, abs=0.3)


def test_hue_is_kept_by_a_gain_and_by_an_offset() -> None:
    before = flat(100, 60, 40)
    assert measures.hue_error(before, before * 2) == pytest.approx(0, abs=1e-9)
    assert measures.hue_error(before, before + np.uint8(30)) == pytest.approx(0, abs=1e-9)


def test_hue_is_asked_only_where_there_is_one() -> None:
    assert measures.hue_error(flat(100), flat(200, 0, 0)) is None
    assert measures.hue_error(flat(20, 0, 0), flat(0, 20, 0)) is None
    assert measures.hue_error(flat(100, 60, 40), flat(255)) is None


def noisy(level: float, deviation: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grey = level + deviation * rng.standard_normal((128, 128, 1))
    return np.round(grey.clip(0, 255)).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("deviation", [3.0, 8.0, 20.0])
def test_noise_std_of_known_noise(deviation: float) -> None:
    image = noisy(120, deviation)
    everywhere = np.ones(image.shape[:2], bool)
    assert 255 * measures.noise_std(image, everywhere) == pytest.approx(deviation, rel=0.05)


def test_noise_std_is_blind_to_ramps_and_robust_to_edges() -> None:
    ramp = np.tile(np.arange(128, dtype=np.uint8)[:, None, None], (1, 128, 3))
    assert measures.noise_std(ramp, np.ones((128, 128), bool)) == 0
    edged = noisy(60, 4)
    edged[:, 64:] += 100
    assert 255 * measures.noise_std(edged, np.ones((128, 128), bool)) == pytest.approx(4, rel=0.08)


def test_noise_gain_of_a_gain_is_the_gain() -> None:
    before = noisy(20, 4)
    assert measures.noise_gain(before, before * 3) == pytest.approx(3, rel=1e-6)
    assert measures.noise_gain(before, before) == 1
    assert measures.noise_gain(before, flat(60, size=128)) == pytest.approx(0.19 / 4, rel=0.1)


def test_lift_of_the_dark_region() -> None:
    before = noisy(20, 4)
    before[:, 64:] = 200
    assert measures.dark_lift(before, np.minimum(before, 120) * 2) == pytest.approx(2, rel=1e-6)
    assert measures.dark_lift(flat(120), flat(200)) is None


def test_noise_is_measured_in_the_dark_only() -> None:
    assert measures.noise_gain(noisy(120, 4), noisy(120, 9)) is None
    before = noisy(20, 4)
    before[:, 64:] = noisy(180, 4)[:, 64:]
    after = before * 2
    after[:, 64:] = noisy(180, 30)[:, 64:]
    assert measures.noise_gain(before, after) == pytest.approx(2, rel=0.02)
    assert not measures.dark_region(flat(0)).any()


def test_pyramid_collapses_to_the_image() -> None:
    image = np.random.default_rng(0).random((53, 71, 3))
    assert np.allclose(fusion.collapse(fusion.laplacian_pyramid(image)), image)


def test_fusion_of_equal_exposures_is_the_photo() -> None:
    assert np.abs(fusion.exposure_fusion(scene(), (0.0, 0.0)).astype(int) - scene()).max() <= 1


def test_fusion_brightens_a_dark_photo_and_exposes_by_stops() -> None:
    dark = compare.gamma(scene(), 3.0)
    assert metrics.mean_level(fusion.exposure_fusion(dark)) > 1.3 * metrics.mean_level(dark)
    coded = fusion.exposed(flat(60), 1.0)[0, 0, 0]
    linear = [((value + 0.055) / 1.055) ** 2.4 for value in (60 / 255, coded)]
    assert linear[1] / linear[0] == pytest.approx(2, rel=1e-5)
    assert fusion.exposed(flat(250), 3.0).max() == 1


def test_clahe_keeps_hue_and_spreads_levels() -> None:
    dull = (scene() // 4 + 60).astype(np.uint8)
    after = baselines.clahe(dull)
    assert after.dtype == np.uint8 and after.std() > 1.5 * dull.std()
    assert (measures.hue_error(dull, after) or 0) < 2


def test_best_gamma_finds_the_gamma() -> None:
    assert np.array_equal(baselines.best_gamma(scene(), compare.gamma(scene(), 0.37)), compare.gamma(scene(), 0.37))


@pytest.mark.parametrize("seed", range(5))
def test_upper_bounds_are_not_beaten_by_any_gamma(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = compare.gamma(scene(seed), rng.uniform(1, 3))
    reference = np.clip(scene(seed).astype(int) + rng.integers(-30, 30, photo.shape), 0, 255).astype(np.uint8)
    by_gamma = [metrics.psnr(compare.gamma(photo, exponent), reference) for exponent in baselines.EXPONENTS[::3]]
    best = metrics.psnr(baselines.best_gamma(photo, reference), reference)
    assert best >= max(by_gamma) - 1e-9
    assert metrics.psnr(baselines.best_tone_curve(photo, reference), reference) >= best - 1e-9


def test_best_tone_curve_is_monotone() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 4, 3))
    curve = baselines.best_tone_curve(ramp, 255 - ramp)[:, 0, 0]
    assert set(curve) <= {127, 128} and (np.diff(curve.astype(int)) >= 0).all()
    assert np.array_equal(baselines.best_tone_curve(ramp, compare.gamma(ramp, 0.5)), compare.gamma(ramp, 0.5))
