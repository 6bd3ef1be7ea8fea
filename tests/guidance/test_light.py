"""Light judged as a whole and in regions."""

import torch

from cliplit.guidance.light import regions


def test_regions_cover_every_pixel_and_keep_order():
    image = torch.arange(2 * 64, dtype=torch.float32).view(2, 1, 8, 8)
    parts = regions(image)
    assert parts.shape == (8, 1, 5, 5)
    assert torch.equal(parts[0], image[0, :, :5, :5]) and torch.equal(parts[7], image[1, :, 3:, 3:])
    assert set(parts.flatten().tolist()) == set(range(128))


def test_a_dark_region_is_seen_in_a_photo_that_is_bright_on_the_whole():
    image = torch.full((1, 3, 32, 32), 0.8)
    image[..., 22:, 22:] = 0.02
    levels = regions(image).mean((1, 2, 3))
    assert levels.argmin() == 3 and levels[3] < levels[0] - 0.15
