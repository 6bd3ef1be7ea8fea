"""A .cube file carries the photo's change of light, and other programs read it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cliplit.cli import cliplit
from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.export import lut
from cliplit.networks import build_network, save_network
from cliplit.photos.demo import render_photo


def mean_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("index", range(3))
def test_the_table_is_much_nearer_to_the_relit_photo_than_the_photo_is(weights: Path, index: int) -> None:
    enhancer, pixels = Enhancer.load(weights, "cpu"), render_photo("backlit", 5, index)
    cube = lut.cube_of(enhancer, pixels)
    relit = enhancer.enhance(pixels)
    assert mean_error(relit, pixels) > 8
    assert mean_error(cube.apply(pixels), relit) < 0.4 * mean_error(pixels, relit)
    assert lut.psnr(enhancer, pixels, cube) > 24


def test_where_light_is_the_same_everywhere_nothing_is_lost(weights: Path) -> None:
    """With one curve for the whole picture all that separates table and model is rounding and 33 points."""
    enhancer, pixels = Enhancer.load(weights, "cpu", denoise=False), render_photo("backlit", 5, 1)
    grid = enhancer.predict(pixels)
    flat = np.broadcast_to(grid.mean((1, 2), keepdims=True), grid.shape).copy()
    enhancer.predict = lambda _: flat  # type: ignore[method-assign]
    cube = lut.cube_of(enhancer, pixels)
    assert mean_error(cube.apply(pixels), enhancer.apply(pixels, flat)) < 0.5


def test_brighter_hardly_ever_becomes_darker(weights: Path) -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    enhancer = Enhancer.load(weights, "cpu")
    for index in range(3):
        ramp = lut.cube_of(enhancer, render_photo("backlit", 6, index)).apply(greys)[0, :, 0].astype(int)
        assert (np.maximum.accumulate(ramp) - ramp).max() <= 3


def test_strength_0_is_the_table_that_changes_nothing(weights: Path) -> None:
    pixels = render_photo("backlit", 5, 0)
    assert (lut.cube_of(Enhancer.load(weights, "cpu"), pixels, strength=0).apply(pixels) == pixels).all()


def test_ffmpeg_reads_the_file_as_we_mean_it(tmp_path: Path, weights: Path) -> None:
    pixels = render_photo("backlit", 5, 2)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    path = tmp_path / "light.cube"
    arguments = ["models", "export", "--format", "lut", "--model", str(weights), "-o", str(path)]
    done = CliRunner().invoke(cliplit, [*arguments, "--photo", str(tmp_path / "photo.png")], catch_exceptions=False)
    assert done.exit_code == 0 and " dB " in done.output
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=1)
    table = graph.add("lut3d", f"file={path}:interp=trilinear")
    sink = graph.add("buffersink")
    source.link_to(table)
    table.link_to(sink)
    graph.configure()
    source.push(frame)
    theirs = sink.pull().to_ndarray(format="rgb24")
    ours = lut.cube_of(Enhancer.load(weights, "cpu"), pixels).apply(pixels)
    assert np.abs(theirs.astype(int) - ours).max() <= 1


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--format", "lut", "-o", "a.cube"], "--photo"),
        (["--format", "onnx", "-o", "a.onnx", "--photo", "photo.jpg"], "--photo"),
        (["--format", "onnx", "-o", "a.cube"], r"ends in \.onnx"),
        (["--format", "onnx", "-o", "a.onnx", "--model", "none.safetensors"], "none.safetensors"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cliplit, ["models", "export", *extra])
    assert isinstance(done.exception, UserError)
    assert done.exception.args and "\n" not in str(done.exception)
    pytest.raises(UserError, lambda: (_ for _ in ()).throw(done.exception)).match(says)
    assert list(tmp_path.iterdir()) == []


def test_a_lut_needs_the_grid_network(tmp_path: Path) -> None:
    config = NetworkConfig("unet", 20.0)
    save_network(build_network(config), config, tmp_path / "unet.safetensors")
    Image.fromarray(render_photo("backlit", 5, 0)).save(tmp_path / "photo.png")
    arguments = ["--model", str(tmp_path / "unet.safetensors"), "--photo", str(tmp_path / "photo.png")]
    output = tmp_path / "a.cube"
    done = CliRunner().invoke(cliplit, ["models", "export", "--format", "lut", *arguments, "-o", str(output)])
    assert isinstance(done.exception, UserError) and "grid network" in str(done.exception)
    assert not output.exists()
