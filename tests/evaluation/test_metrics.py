"""Every formula against values worked out by hand, and the protocol against the published development table."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from cliplit.evaluation import compare, metrics

SHARED = Path(__file__).parents[3] / "shared"


def flat(value, height=16, width=16):
    return np.full((height, width, 3), value, np.uint8)


def textured(seed=0, low=40, high=90):
    return np.random.default_rng(seed).integers(low, high, (32, 40, 3)).astype(np.uint8)


def test_psnr_of_a_difference_of_ten_levels():
    assert metrics.psnr(flat(100), flat(110)) == pytest.approx(20 * math.log10(255 / 10))
    assert metrics.psnr(flat(0), flat(255)) == pytest.approx(0)


def test_psnr_of_equal_images_is_finite():
    assert metrics.psnr(flat(7), flat(7)) == 99.0


def test_ssim_of_flat_images_is_the_luminance_term():
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert metrics.ssim(flat(100), flat(50)) == pytest.approx(expected, abs=1e-6)
    assert metrics.ssim(textured(), textured()) == pytest.approx(1)


def test_exposure():
    image = flat(0, 2, 2)
    image[0, 0] = (255, 0, 0)
    image[0, 1] = (254, 254, 254)
    image[1, 0] = (1, 1, 2)
    assert metrics.mean_level(image) == pytest.approx((255 + 3 * 254 + 4) / (12 * 255))
    assert metrics.clipped_high(image) == 0.5
    assert metrics.clipped_low(image) == 0.25


def test_structure_is_blind_to_gain_and_sees_what_is_lost():
    image = textured()
    assert metrics.structure(image, image) == pytest.approx(1)
    assert metrics.structure(image, image * 2) == pytest.approx(1, abs=1e-3)
    assert metrics.structure(image, np.full_like(image, 255)) == 0
    assert metrics.structure(image, 255 - image) == 0
    assert metrics.structure(image, textured(seed=5)) < 0.2
    assert metrics.structure(flat(9), flat(200)) == 1


def test_structure_of_a_half_flattened_image_is_the_contrast_that_is_left():
    image = np.tile(textured()[:, :16], (1, 2, 1))
    image = np.concatenate([image, image], axis=1)[:, :64]
    after = image.copy()
    after[:, :32] = 255
    assert metrics.structure(image, after) == pytest.approx(0.5, abs=0.08)


def test_fit_scales_down_to_the_long_side_and_never_up():
    assert metrics.fit(np.zeros((356, 536, 3), np.uint8)).shape == (213, 320, 3)
    assert metrics.fit(np.zeros((10, 20, 3), np.uint8)).shape == (10, 20, 3)
    assert metrics.fit(np.zeros((1, 5000, 3), np.uint8)).shape == (1, 320, 3)


def test_bootstrap_of_equal_values_has_no_width_and_is_seeded():
    assert compare.bootstrap([2.0, 2.0, 2.0]) == compare.Interval(2.0, 2.0, 2.0, 3)
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = compare.bootstrap(values)
    assert interval == compare.bootstrap(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2 / math.sqrt(400), rel=0.15)
    assert interval.low < values.mean() < interval.high
    with pytest.raises(ValueError):
        compare.bootstrap([])


def test_gamma_table():
    assert compare.gamma(flat(64), 0.5)[0, 0, 0] == round(255 * math.sqrt(64 / 255))
    assert np.array_equal(compare.gamma(textured(), 1.0), textured())


def test_gamma_to_mean_hits_the_mean_and_leaves_bright_photos():
    assert metrics.mean_level(compare.gamma_to_mean(textured(), 0.5)) == pytest.approx(0.5, abs=0.005)
    assert np.array_equal(compare.gamma_to_mean(flat(200), 0.5), flat(200))
    assert np.array_equal(compare.gamma_to_mean(flat(0), 0.5), flat(0))


@pytest.mark.skipif(not (SHARED / "peers" / "dev_pairs.csv").is_file(), reason="../shared is not there")
def test_protocol_reproduces_the_published_table():
    with (SHARED / "peers" / "dev_pairs.csv").open(encoding="utf-8") as file:
        published = {row["photo"]: row for row in csv.DictReader(file) if row["method"] == "input"}
    measured, with_gamma = [], []
    for name, row in published.items():
        x = metrics.load(SHARED / "data/eval/pairs/backlit" / name)
        truth = metrics.load(SHARED / "data/eval/pairs/reference" / name)
        measured.append((metrics.psnr(x, truth), metrics.ssim(x, truth)))
        assert measured[-1] == pytest.approx((float(row["psnr_db"]), float(row["ssim"])), abs=6e-4)
        assert 255 * metrics.mean_level(x) == pytest.approx(float(row["mean_level_0_255"]), abs=0.06)
        y = compare.gamma(x, compare.FIXED_GAMMA)
        with_gamma.append((metrics.psnr(y, truth), metrics.ssim(y, truth)))
    assert len(published) == 40
    assert np.mean(measured, axis=0) == pytest.approx((10.32, 0.415), abs=5e-3)
    assert np.mean(with_gamma, axis=0) == pytest.approx((17.16, 0.771), abs=1e-2)
