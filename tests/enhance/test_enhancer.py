"""How an enhancer behaves, whatever it has learned."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer, pick_device
from cliplit.errors import UserError
from cliplit.networks import build_network
from cliplit.photos.codecs import Photo


def test_shadows_are_lifted_and_shape_and_type_stay(enhancer, dark):
    result = enhancer.enhance(dark)
    assert result.shape == dark.shape
    assert result.dtype == np.uint8
    assert result.mean() > dark.mean() + 10


def test_strength_zero_is_exactly_the_input(enhancer, dark):
    assert np.array_equal(enhancer.enhance(dark, strength=0), dark)
    assert enhancer.enhance(dark, strength=0) is not dark


def test_more_strength_is_brighter(enhancer, dark):
    levels = [enhancer.enhance(dark, strength).mean() for strength in (0, 0.5, 1)]
    assert levels[0] < levels[1] < levels[2]


def test_brighter_input_is_never_enhanced_darker(enhancer, dark):
    levels = []
    for exponent in (1.0, 0.9, 0.8, 0.6, 0.4):
        brighter = np.round(255 * (dark / 255) ** exponent).astype(np.uint8)
        levels.append(enhancer.enhance(brighter).mean())
    assert levels == sorted(levels)


def test_brighter_pixels_of_one_place_stay_brighter(enhancer):
    levels = np.random.default_rng(0).permutation(np.repeat(np.arange(256, dtype=np.uint8), 64)).reshape(128, 128)
    result = enhancer.enhance(levels[..., None].repeat(3, axis=2))[..., 0].astype(float)
    means = [result[levels == level].mean() for level in range(0, 256, 5)]
    assert (np.diff(means) > -1).all()
    assert means[10] > 50


@pytest.mark.parametrize("axis", [0, 1])
def test_flipping_the_photo_flips_the_result(enhancer, dark, axis):
    there = np.flip(enhancer.enhance(np.ascontiguousarray(np.flip(dark, axis))), axis)
    difference = np.abs(there.astype(int) - enhancer.enhance(dark).astype(int))
    assert difference.mean() < 1
    assert difference.max() < 12


def test_photos_do_not_influence_each_other(enhancer, dark):
    first = enhancer.enhance(dark)
    enhancer.enhance(255 - dark)
    assert np.array_equal(enhancer.enhance(dark), first)


def test_a_photo_keeps_everything_but_its_pixels(enhancer, dark):
    photo = Photo(dark, "PNG", b"Exif\x00\x00", b"profile", Path("a.png"))
    result = enhancer.enhance_photo(photo)
    assert (result.format, result.exif, result.icc, result.path) == ("PNG", photo.exif, b"profile", Path("a.png"))
    assert np.array_equal(result.pixels, enhancer.enhance(dark))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 200, 3), (5, 3, 3)])
@pytest.mark.parametrize("kind", ["grid", "unet"])
def test_tiny_photos_are_no_error(shape, kind):
    torch.manual_seed(0)
    enhancer = Enhancer(build_network(NetworkConfig(kind=kind, max_gain=4.0)))
    assert enhancer.enhance(np.full(shape, 30, np.uint8)).shape == shape


@pytest.mark.parametrize(
    ("pixels", "strength"),
    [
        (np.zeros((4, 4), np.uint8), 1),
        (np.zeros((4, 4, 4), np.uint8), 1),
        (np.zeros((4, 4, 3), np.float64), 1),
        (np.zeros((4, 0, 3), np.uint8), 1),
        (np.zeros((4, 4, 3), np.uint8), -1),
        (np.zeros((4, 4, 3), np.uint8), float("nan")),
    ],
)
def test_what_is_no_photo_is_refused(enhancer, pixels, strength):
    with pytest.raises(ValueError):
        enhancer.enhance(pixels, strength)


def test_weights_that_are_not_there_name_the_fix(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors: there is no such weights file; train first"):
        Enhancer.load(tmp_path / "absent.safetensors")


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("no weights", encoding="utf-8")
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        Enhancer.load(path)


def test_unknown_device_is_one_sentence():
    with pytest.raises(UserError, match="device 'toaster'"):
        pick_device("toaster")
    assert pick_device("cpu") == torch.device("cpu")
