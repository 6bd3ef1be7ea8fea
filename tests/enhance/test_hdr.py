"""Scene-linear photos keep their highlights, and 16 bits stay 16 bits."""

import numpy as np
import pytest

from cliplit.enhancer import Enhancer
from cliplit.networks import hdr
from cliplit.photos.codecs import Photo


def linear(pixels: np.ndarray) -> Photo:
    return Photo(np.ascontiguousarray(pixels, np.float32), "EXR", linear=True)


@pytest.fixture
def scene() -> np.ndarray:
    """Two thirds in shadow below 0.1, the rest sky and a lamp of 40."""
    rows, columns = np.mgrid[0:90, 0:120].astype(np.float32)
    light = 0.02 + 0.06 * (1 + np.sin(rows / 9) * np.cos(columns / 13)) / 2
    pixels = np.stack([light, light * 0.8, light * 0.6], axis=2)
    pixels[:20] = (0.7, 0.9, 1.8)
    pixels[5:12, 60:70] = (40, 36, 20)
    return pixels


def test_shadows_are_lifted_and_highlights_keep_their_light(enhancer, scene):
    result = enhancer.enhance_photo(linear(scene)).pixels
    assert result.dtype == np.float32
    assert result[40:].mean() > 1.5 * scene[40:].mean()
    lamp = scene.max(axis=2) > 1
    np.testing.assert_allclose(result[lamp].max(axis=1), scene[lamp].max(axis=1), rtol=0.01)
    assert result.max() > 39


def test_strength_zero_is_exactly_the_input(enhancer, scene):
    scene[50, 50] = (-0.01, np.nan, np.inf)
    result = enhancer.enhance_photo(linear(scene), strength=0).pixels
    assert np.array_equal(result, scene, equal_nan=True)
    assert result is not scene


@pytest.mark.parametrize("strength", [0.5, 1, 1.5])
def test_a_ramp_through_one_stays_in_order_and_has_no_step(enhancer, strength):
    ramp = np.linspace(0, 4, 4096, dtype=np.float32)
    pixels = np.broadcast_to(ramp[None, :, None], (64, 4096, 3))
    result = enhancer.enhance_photo(linear(pixels), strength).pixels[32, :, 1]
    steps = np.diff(result)
    certain = 0 if strength <= 1 else 0.8  # a gain curve may fall as fast as order allows, at strength 1
    assert steps[ramp[1:] > certain].min() > -1e-3
    beyond = ramp > 1
    np.testing.assert_allclose(result[beyond], ramp[beyond], rtol=1e-4)
    near = np.abs(ramp[1:] - 1) < 0.05
    assert np.abs(steps[near]).max() < 5 * (ramp[1] - ramp[0])


def test_up_to_one_it_is_what_the_coded_photo_gets(enhancer, scene):
    scene = scene.clip(0, 1)
    coded = hdr.coded_view(scene)
    wanted = enhancer.enhance(coded)
    result = hdr.coded_view(enhancer.enhance_photo(linear(scene)).pixels)
    np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_the_curve_and_its_inverse_are_those_of_the_standard():
    light = np.array([0, 0.001, 0.0031308, 0.01, 0.18, 0.5, 1], np.float32)
    coded = [0, 0.01292, 0.04045, 0.09985, 0.46136, 0.73536, 1]
    pixels = light[None, :, None].repeat(3, axis=2)
    view = hdr.coded_view(pixels)
    np.testing.assert_allclose(view[0, :, 0], coded, atol=2e-5)
    np.testing.assert_allclose(hdr.to_light(view, pixels), pixels, atol=1e-6)


def test_colours_outside_the_primaries_stay_as_they_are(enhancer, scene):
    scene[60, 60] = (-0.02, 0.05, 0.01)
    as_it_is = Enhancer(enhancer.network, denoise=False)  # a single odd pixel is what denoising takes for noise
    result = as_it_is.enhance_photo(linear(scene)).pixels
    assert result[60, 60, 0] == pytest.approx(-0.02, abs=2e-3)
    assert result[60, 60, 1] > 0.05


def test_what_is_no_number_does_not_spread(enhancer, scene):
    wanted = enhancer.enhance_photo(linear(scene)).pixels
    scene[50, 50] = (np.nan, np.inf, -np.inf)
    result = enhancer.enhance_photo(linear(scene)).pixels
    assert np.isfinite(result).all()
    assert np.abs(np.delete(result[50] - wanted[50], 50, axis=0)).max() < 0.02


def test_sixteen_bits_stay_sixteen(enhancer):
    ramp = np.linspace(0, 65535, 6000).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (64, 6000, 3)).copy()
    result = enhancer.enhance(pixels)
    assert result.dtype == np.uint16
    assert len(np.unique(result[32])) > 4000
    eight = enhancer.enhance((pixels >> 8).astype(np.uint8))
    assert np.abs(result / 257 - eight.astype(float)).mean() < 2
