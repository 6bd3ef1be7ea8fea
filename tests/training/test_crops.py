from __future__ import annotations

import numpy as np
import pytest

from cliplit.training.crops import SMALLEST_AREA, WHOLE, Crop, cut, draw_crops, draw_indices, to_tensor


def test_crops_are_a_pure_function_of_seed_stream_and_step():
    crops = draw_crops(3, "a", 11, 8)
    draw_crops(3, "a", 12, 8)
    assert draw_crops(3, "a", 11, 8) == crops
    assert draw_crops(4, "a", 11, 8) != crops
    assert draw_crops(3, "b", 11, 8) != crops
    assert draw_crops(3, "a", 12, 8) != crops


def test_crops_keep_most_of_the_frame_and_turn_both_ways():
    crops = draw_crops(0, "a", 0, 2000)
    areas = np.array([crop.height * crop.width for crop in crops])
    assert areas.min() >= SMALLEST_AREA / 1.3**2 - 0.03
    assert (areas > SMALLEST_AREA - 0.03).mean() > 0.8
    assert 0.05 < np.mean([crop.top < 0 or crop.left < 0 for crop in crops]) < 0.15  # zoomed out, reflected
    for name in ("flip_rows", "flip_columns", "transpose"):
        assert 0.45 < np.mean([getattr(crop, name) for crop in crops]) < 0.55


@pytest.mark.parametrize("population", [1, 5, 16])
def test_every_photo_comes_once_before_any_comes_again(population):
    drawn = [index for step in range(10) for index in draw_indices(0, "a", step, 4, population)]
    for start in range(0, len(drawn) - population + 1, population):
        assert sorted(drawn[start : start + population]) == list(range(population))


def test_the_whole_photo_at_its_own_size_is_the_photo():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert np.array_equal(cut(pixels, WHOLE, 20), pixels)
    assert np.array_equal(cut(pixels, Crop(flip_rows=True), 20), pixels[::-1])
    assert np.array_equal(cut(pixels, Crop(flip_columns=True), 20), pixels[:, ::-1])
    assert np.array_equal(cut(pixels, Crop(transpose=True), 20), pixels.transpose(1, 0, 2))
    assert np.array_equal(cut(pixels, Crop(0.25, 0.5, 0.5, 0.5), 10), pixels[5:15, 10:20])


def test_outside_the_frame_the_photo_is_reflected():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    wide = cut(pixels, Crop(-0.25, 0.0, 1.5, 1.0), 30)
    assert wide.shape == (30, 30, 3)
    tall = cut(pixels, Crop(-0.25, -0.25, 1.5, 1.5), 30)
    assert np.array_equal(tall[5:25, 5:25], pixels)
    assert np.array_equal(tall[4, 5:25], pixels[1])


def test_resizing_is_antialiased_and_small_photos_grow():
    stripes = np.tile(np.array([[0, 255]], np.uint8)[..., None], (128, 64, 3))
    small = cut(stripes, WHOLE, 16)
    assert abs(small.astype(float) - 127.5).max() < 40
    assert cut(np.full((1, 3, 3), 9, np.uint8), Crop(-0.2, -0.2, 1.4, 1.4), 32).tolist() == [[[9] * 3] * 32] * 32


def test_tensors_are_in_0_to_1():
    tensor = to_tensor([np.full((4, 4, 3), value, np.uint8) for value in (0, 255)], "cpu")
    assert tensor.shape == (2, 3, 4, 4) and tensor.min() == 0 and tensor.max() == 1
