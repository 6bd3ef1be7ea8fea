"""Demo photos: reproducible to the bit, backlit and well lit as they say, and never over photos of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cliplit.errors import UserError
from cliplit.photos.camera import Camera, expose, meter_average, meter_highlights
from cliplit.photos.canvas import Canvas, noise, smoothstep
from cliplit.photos.codecs import list_photos, save_jpeg
from cliplit.photos.demo import render_demo, render_pair, render_photo
from cliplit.photos.scenes import COMPOSERS


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def test_rendering_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        render_demo(tmp_path / name, seed=3, count=3, pairs=1)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "one")) == 2 * 3 + 2
    render_demo(tmp_path / "two", seed=4, count=2, pairs=0)
    assert len(files(tmp_path / "two")) == 4
    assert not set(files(tmp_path / "one").values()) & set(files(tmp_path / "two").values())


@pytest.mark.parametrize("index", range(len(COMPOSERS)))
def test_every_kind_of_scene_looks_like_its_role(index: int) -> None:
    backlit, well_lit = (render_photo(role, 0, index) for role in ("backlit", "well_lit"))
    for photo in (backlit, well_lit):
        assert photo.dtype == np.uint8 and 384 <= max(photo.shape) <= 512
        assert photo.std() > 15
    assert np.percentile(backlit.mean(axis=2), 25) < 0.22 * 255
    assert 0.3 * 255 < well_lit.mean() < 0.75 * 255
    assert backlit.mean() < well_lit.mean()


def test_a_pair_shows_one_view_in_two_lights() -> None:
    backlit, reference = (image.astype(float).mean(axis=2) for image in render_pair(0, 1))
    assert backlit.shape == reference.shape
    assert reference.mean() > backlit.mean() + 30
    edges = [np.abs(np.diff(image, axis=1)).ravel() for image in (backlit, reference)]
    assert np.corrcoef(edges[0], edges[1])[0, 1] > 0.2


def test_photos_of_ones_own_are_not_touched(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "data/photos/backlit/mine.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="mine.jpg: photos of your own"):
        render_demo(tmp_path, count=8, pairs=0)
    assert [path.name for path in list_photos(tmp_path / "data")] == ["mine.jpg"]


def test_camera_clips_and_codes_in_srgb() -> None:
    camera = Camera(1e9, 0.0, 0.0, 0.0, (1.0, 1.0, 1.0), 0.0, 1.0)
    flat = np.full((16, 16, 3), 0.2140, np.float32)
    rng = np.random.default_rng(0)
    assert (expose(flat, 1.0, camera, rng) == 127).mean() + (expose(flat, 1.0, camera, rng) == 128).mean() > 0.99
    assert (expose(flat, 100.0, camera, rng) == 255).all()
    noisy = Camera(500.0, 8.0, 0.0, 0.0, (1.0, 1.0, 1.0), 0.0, 1.0)
    assert expose(flat, 1.0, noisy, rng).std() > 2


def test_metering() -> None:
    radiance = np.full((10, 10, 3), 0.01, np.float32)
    radiance[:2] = 2.0
    assert meter_highlights(radiance, 95) == pytest.approx(0.45)
    assert meter_average(np.full((4, 4, 3), 0.5, np.float32), 0.2) == pytest.approx(0.4, rel=1e-3)


def test_relighting_keeps_what_things_look_like() -> None:
    canvas = Canvas(8, 8, np.random.default_rng(0))
    canvas.paint(np.ones((8, 8)), (0.5, 0.25, 0.1), 0.01)
    canvas.paint(canvas.box(0.5, 0, 1, 1) > 0.5, (0.5, 0.25, 0.1), 1.0)
    dark, lit = canvas.radiance(), canvas.radiance(0.5)
    assert dark[0, 0] == pytest.approx([0.005, 0.0025, 0.001])
    assert lit[0, 0] == pytest.approx([0.05, 0.025, 0.01])
    assert lit[0, -1] == pytest.approx(dark[0, -1])


def test_tools_of_the_painter() -> None:
    assert smoothstep(np.array([-1.0, 0.5, 2.0]), 0, 1) == pytest.approx([0, 0.5, 1])
    assert smoothstep(np.array([0.0, 1.0]), 1, 0) == pytest.approx([1, 0])
    field = noise(np.random.default_rng(0), (64, 64), 2.0, (6.0, 1.0))
    assert field.min() >= 0 and field.max() <= 1
    assert np.abs(np.diff(field, axis=1)).mean() < 0.7 * np.abs(np.diff(field, axis=0)).mean()
