"""Exported graphs give what PyTorch gives, at sizes they were not made at, and need nothing of cliplit."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from cliplit.cli import cliplit
from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.export import dynamic, graphs
from cliplit.networks import build_network, load_network, save_network
from cliplit.photos.demo import render_photo

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
OTHER_SIZES = ((45, 131), (200, 200), (540, 961))


@pytest.fixture(scope="module")
def unet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's network with a head that gives another gain at every pixel."""
    torch.manual_seed(3)
    config = NetworkConfig("unet", 20.0)
    network = build_network(config)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    path = tmp_path_factory.mktemp("unet") / "unet.safetensors"
    save_network(network, config, path)
    return path


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(6, 6), (7, 100), (241, 53), (5, 3)])
def test_pooling_over_index_arithmetic_is_adaptive_pooling(bins: int, size: tuple[int, int]) -> None:
    features = torch.rand(2, 3, *size)
    expected = F.adaptive_avg_pool2d(features.double(), bins).float()  # in float32 torch itself is off by 1.3e-6
    torch.testing.assert_close(dynamic.pool_into_parts(features, bins), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(60, 90), (333, 517), (1080, 1920), (128, 128), (129, 127)])
def test_thumbnails_over_index_arithmetic_are_torch_s(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    expected = F.interpolate(image, size=(128, 128), mode="bilinear", antialias=True)
    torch.testing.assert_close(dynamic.resize_antialiased(image, (128, 128)), expected, rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["photo", "map"])
@pytest.mark.parametrize("kind", ["grid", "unet"])
def test_onnx_is_the_network_at_any_size(
    tmp_path: Path, weights: Path, unet_weights: Path, kind: str, graph: str
) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    source, path = weights if kind == "grid" else unet_weights, tmp_path / "model.onnx"
    arguments = ["models", "export", "--format", "onnx", "--model", str(source), "--graph", graph, "-o", str(path)]
    done = CliRunner().invoke(cliplit, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "differs from PyTorch by at most" in done.output
    network, _ = load_network(source)
    module = graphs.WholePhoto(network) if graph == "photo" else graphs.MapOnly(network)
    session = onnxruntime.InferenceSession(path)
    for size in OTHER_SIZES:
        inputs = module.example(*size)
        (found,) = session.run(None, {name: x.numpy() for name, x in zip(module.inputs, inputs, strict=True)})
        with torch.inference_mode():
            np.testing.assert_allclose(found, module(*inputs).numpy(), rtol=0, atol=1e-4)
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert about["model_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", about["cliplit_version"])
    again = CliRunner().invoke(cliplit, arguments)
    assert isinstance(again.exception, UserError) and "--overwrite" in str(again.exception)


@pytest.mark.parametrize("kind", ["grid", "unet"])
def test_a_saved_program_runs_without_cliplit(tmp_path: Path, weights: Path, unet_weights: Path, kind: str) -> None:
    source, path = weights if kind == "grid" else unet_weights, tmp_path / "model.pt2"
    network, _ = load_network(source)
    graphs.write_program(graphs.WholePhoto(network), path, source)
    photo = torch.rand(150, 101, 3)
    torch.save(photo, tmp_path / "photo.pt")
    code = (
        "import sys, torch; program = torch.export.load('model.pt2').module()\n"
        "torch.save(program(torch.load('photo.pt'), torch.tensor(0.5)), 'relit.pt')\n"
        "assert not any(name.startswith('cliplit') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    with torch.inference_mode():
        expected = graphs.WholePhoto(network)(photo, torch.tensor(0.5))
    torch.testing.assert_close(torch.load(tmp_path / "relit.pt"), expected, rtol=0, atol=1e-5)


def test_a_graph_that_computes_something_else_is_not_written(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    right = dynamic.resize_antialiased
    monkeypatch.setattr(dynamic, "resize_antialiased", lambda *arguments: right(*arguments) * 0.98)
    network, _ = load_network(weights)
    with pytest.raises(UserError, match="differs from PyTorch"):
        graphs.write_onnx(graphs.WholePhoto(network), tmp_path / "model.onnx", weights)
    assert list(tmp_path.iterdir()) == []


def test_the_script_of_the_docs_relights_as_cliplit_does(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("onnxruntime")
    (script,) = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(script.strip().splitlines()) <= 24
    (tmp_path / "relight.py").write_text(script, encoding="utf-8")
    pixels = render_photo("backlit", 4, 0)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    network, _ = load_network(weights)
    graphs.write_onnx(graphs.WholePhoto(network), tmp_path / "cliplit.onnx", weights)
    blocker = "import sys; sys.modules.update(dict.fromkeys(('torch', 'cliplit'))); sys.argv = sys.argv[1:]; "
    runner = blocker + "exec(open('relight.py').read())"
    command = [sys.executable, "-c", runner, "relight.py", "cliplit.onnx", "in.png", "out.png"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    relit = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    expected = Enhancer.load(weights, "cpu", denoise=False).enhance(pixels).astype(int)
    assert np.abs(expected - pixels).mean() > 5
    assert np.abs(relit - expected).max() <= 2
    assert np.abs(relit - expected).mean() < 0.1
