"""NIQE's features against samples of known parameters and the statistics that its authors report."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import gamma

from cliplit.bench import niqe


def natural(seed: int, size: tuple[int, int] = (192, 256)) -> np.ndarray:
    """Occluding discs of random size and shade (dead leaves, Lee et al. 2001): edges and scales as in photos."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    image = np.full((*size, 3), 128.0)
    for _ in range(250):
        radius = 2 / (1 - rng.uniform(0, 0.97)) ** 0.9
        y, x = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.uniform(20, 235, 3)
    textured = image + 6 * gaussian_filter(rng.standard_normal(image.shape), (1, 1, 0)) * 3
    return np.round(gaussian_filter(textured, (0.6, 0.6, 0)).clip(0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def pristine() -> niqe.Pristine:
    fitted = niqe.fit(natural(seed) for seed in range(24))
    assert fitted is not None
    return fitted


def generalised(shape: float, scale: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples of density ~ exp(-(|v| / scale)^shape)."""
    magnitude = scale * rng.gamma(1 / shape, 1, count) ** (1 / shape)
    return magnitude * rng.choice([-1, 1], count)


@pytest.mark.parametrize(("shape", "scale"), [(0.5, 1.0), (1.0, 2.0), (2.0, 0.7), (4.0, 1.0)])
def test_symmetric_parameters_are_recovered(shape: float, scale: float) -> None:
    samples = generalised(shape, scale, 200_000, np.random.default_rng(0))[None]
    found, left, right = (float(value[0]) for value in niqe.aggd(samples))
    assert found == pytest.approx(shape, rel=0.03)
    assert (left, right) == (pytest.approx(scale, rel=0.06), pytest.approx(scale, rel=0.06))


def test_a_normal_and_a_laplace_distribution_have_their_textbook_parameters() -> None:
    rng = np.random.default_rng(1)
    shape, left, _ = niqe.aggd(rng.normal(0, 3, (1, 200_000)))
    assert (shape[0], left[0]) == (pytest.approx(2, rel=0.03), pytest.approx(3 * math.sqrt(2), rel=0.03))
    shape, left, _ = niqe.aggd(rng.laplace(0, 1.5, (1, 200_000)))
    assert (shape[0], left[0]) == (pytest.approx(1, rel=0.03), pytest.approx(1.5, rel=0.03))


def test_asymmetric_parameters_are_recovered() -> None:
    """Density ~ exp(-(|v| / scale)^shape), left scale 1, right scale 2: the right side is drawn twice as often."""
    rng = np.random.default_rng(2)
    size = 300_000
    right = rng.random(size) < 2 / 3
    magnitude = rng.gamma(1 / 0.8, 1, size) ** (1 / 0.8)
    shape, left, scale = niqe.aggd(np.where(right, 2 * magnitude, -magnitude)[None])
    assert shape[0] == pytest.approx(0.8, rel=0.03)
    assert (left[0], scale[0]) == (pytest.approx(1, rel=0.05), pytest.approx(2, rel=0.05))


def test_ratio_table_is_the_formula() -> None:
    """r(a) = G(2/a)^2 / (G(1/a) G(3/a)): 2/pi for a normal, 1/2 for a Laplace, 3/4 for (almost) uniform samples."""
    for shape, value in ((2.0, 2 / math.pi), (1.0, 0.5)):
        assert np.interp(shape, niqe._SHAPES, niqe._RATIOS) == pytest.approx(value, rel=1e-6)
    assert niqe._RATIOS[-1] == pytest.approx(gamma(0.2) ** 2 / (gamma(0.1) * gamma(0.3)), rel=1e-6)
    assert (np.diff(niqe._RATIOS) > 0).all() and niqe._RATIOS[-1] < 0.75


def test_mscn_of_noise_is_standardised_and_white() -> None:
    """Noise keeps no scale; its tails are lighter than a normal's, because each pixel is in its own window."""
    values, deviation = niqe.mscn(128 + 20 * np.random.default_rng(0).standard_normal((256, 256)))
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert 0.8 < values.std() < 1.0
    assert deviation.mean() == pytest.approx(18.5, abs=1)
    assert 2 < niqe.aggd(values.reshape(1, -1))[0][0] < 3.5
    assert np.abs(niqe.mscn(np.full((64, 64), 90.0))[0]).max() < 1e-6


def test_blur_lowers_shape_and_scale_and_noise_raises_the_scale() -> None:
    """As Mittal et al. show (BRISQUE, 2012, figure 2): blur makes the histogram narrow and peaked, noise wide."""
    image = natural(7)
    noise = 20 * np.random.default_rng(0).standard_normal(image.shape)
    changed = [gaussian_filter(image, (2, 2, 0)), image, (image + noise).clip(0, 255).astype(np.uint8)]
    blurred, clean, noisy = (niqe.features(each)[0].mean(axis=0) for each in changed)
    assert blurred[0] < clean[0]
    assert blurred[1] < 0.6 * clean[1] < clean[1] < 0.7 * noisy[1]


def test_neighbours_of_a_picture_agree_and_those_of_noise_do_not() -> None:
    """The mean of products of neighbours (feature 4 of 18); that of noise is a little negative, its mean being 0."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    of_noise = niqe.features(noise)[0][:, 3]
    of_picture = niqe.features(natural(99))[0][:, 3]
    assert of_noise.mean() < 0 < 0.05 < of_picture.mean()


def test_there_are_36_features_for_each_whole_patch() -> None:
    table, sharpness = niqe.features(natural(0, (130, 200)))
    assert table.shape == (2 * 3, 36) and sharpness.shape == (6,)
    assert np.isfinite(table).all()


def test_a_flat_photo_has_finite_features() -> None:
    assert np.isfinite(niqe.features(np.full((64, 128, 3), 77, np.uint8))[0]).all()


def test_blurred_and_noisy_pictures_score_worse_and_more_so_the_more_they_are(pristine: niqe.Pristine) -> None:
    rng = np.random.default_rng(5)

    def mean_score(change) -> float:
        scores = [niqe.niqe(change(natural(seed)), pristine) for seed in range(100, 103)]
        return float(np.mean([score for score in scores if score is not None]))

    def blurred(deviation: float):
        return lambda image: gaussian_filter(image, (deviation, deviation, 0))

    def noisy(deviation: float):
        return lambda image: (image + deviation * rng.standard_normal(image.shape)).clip(0, 255).astype(np.uint8)

    clean = mean_score(lambda image: image)
    assert clean < mean_score(blurred(1.0)) < mean_score(blurred(2.5))
    assert clean < mean_score(noisy(10)) < mean_score(noisy(40))


def test_too_few_patches_fit_nothing_and_small_photos_have_no_score(pristine: niqe.Pristine) -> None:
    assert niqe.fit([natural(0)]) is None and niqe.fit([]) is None
    assert niqe.niqe(np.zeros((63, 200, 3), np.uint8), pristine) is None
