"""A network as one file for other programs: ONNX, or PyTorch's own saved program; measured before it is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cliplit.errors import UserError
from cliplit.export.dynamic import SizesStayOpen
from cliplit.files import atomic_path
from cliplit.networks import apply_illumination

OPSET = 20  # the first whose GridSample takes the grid's three dimensions
TOLERANCE = 1e-4
LEAST, MOST = 32, 1 << 15  # px of a side
#: Height and width that an exported graph is measured at: square, narrow, odd, and one that the example did not have.
SIZES = ((64, 64), (97, 33), (256, 384), (333, 517))
_EXAMPLE = (60, 90)


class WholePhoto(nn.Module):
    """A photo H x W x 3 (float32, 0..1, sRGB-coded) and a strength, to the relit photo of the same kind."""

    inputs, output = ("photo", "strength"), "relit"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo_HWC: Tensor, strength: Tensor) -> Tensor:
        image = photo_HWC.permute(2, 0, 1)[None]
        # (L^strength)^-1: the strength is a tensor here, so that it stays an input of the graph.
        return apply_illumination(image, self.network(image).pow(strength))[0].permute(1, 2, 0)

    def example(self, height: int, width: int) -> tuple[Tensor, ...]:
        """Inputs of that size: noise, because it is what resizing and pooling show their differences on."""
        return torch.rand(height, width, 3), torch.tensor(0.7)

    def open_axes(self) -> dict[str, dict[int, str]]:
        """Which axes of which input or output have any length."""
        return {name: {0: "height", 1: "width"} for name in ("photo", "relit")}


class MapOnly(nn.Module):
    """The network by itself: 1 x 3 x H x W (float32, 0..1) to the illumination map 1 x 1 x H x W."""

    inputs, output = ("image",), "illumination"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_BCHW: Tensor) -> Tensor:
        illumination: Tensor = self.network(image_BCHW)
        return illumination

    def example(self, height: int, width: int) -> tuple[Tensor, ...]:
        """An input of that size."""
        return (torch.rand(1, 3, height, width),)

    def open_axes(self) -> dict[str, dict[int, str]]:
        """Which axes of which input or output have any length."""
        return {name: {2: "height", 3: "width"} for name in ("image", "illumination")}


Graph = WholePhoto | MapOnly


@dataclass(frozen=True)
class Written:
    """An exported file: its size in bytes, and the largest difference from PyTorch over SIZES (values in 0..1)."""

    path: Path
    bytes: int
    difference: float


def write_onnx(graph: Graph, path: Path, weights: Path) -> Written:
    """Export ``graph`` as ONNX of any size, with the version and the sha256 of ``weights`` inside.

    The file is run by onnxruntime at SIZES and takes its place only where it agrees to TOLERANCE. Raises UserError
    where it does not, or where onnx and onnxruntime are not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'cliplit[onnx]' brings it") from None
    with atomic_path(path) as temporary:
        with torch.no_grad(), SizesStayOpen(), _quiet():
            torch.onnx.export(
                _frozen(graph),
                graph.example(*_EXAMPLE),
                str(temporary),
                dynamo=False,  # the other exporter needs onnxscript, and says no more than this one here
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=[graph.output],
                dynamic_axes=graph.open_axes(),
            )
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, _about(graph, weights))
        model.producer_name, model.producer_version = "cliplit", metadata.version("cliplit")
        onnx.checker.check_model(model)
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> np.ndarray:
            fed = {name: value.numpy() for name, value in zip(graph.inputs, inputs, strict=True)}
            result: np.ndarray = session.run(None, fed)[0]
            return result

        difference = _agree(graph, run, path)
        size = temporary.stat().st_size
    return Written(path, size, difference)


def write_program(graph: Graph, path: Path, weights: Path) -> Written:
    """Export ``graph`` with torch.export, for torch.export.load without cliplit; measured as by ``write_onnx``."""
    height, width = (torch.export.Dim(name, min=LEAST, max=MOST) for name in ("height", "width"))
    open_axes = graph.open_axes()
    shapes = [
        {axis: {"height": height, "width": width}[name] for axis, name in open_axes.get(key, {}).items()} or None
        for key in graph.inputs
    ]
    with atomic_path(path) as temporary:
        with torch.no_grad(), SizesStayOpen(), _quiet():
            program = torch.export.export(
                _frozen(graph), graph.example(*_EXAMPLE), dynamic_shapes=tuple(shapes), strict=False
            )
        torch.export.save(program, temporary, extra_files={"cliplit.json": json.dumps(_about(graph, weights))})
        loaded = torch.export.load(temporary).module()
        difference = _agree(graph, lambda *inputs: loaded(*inputs).numpy(), path)
        size = temporary.stat().st_size
    return Written(path, size, difference)


def _agree(graph: Graph, run: Callable[..., np.ndarray], path: Path) -> float:
    """The largest difference between ``run`` and PyTorch at SIZES; raises UserError above TOLERANCE."""
    worst = 0.0
    with torch.inference_mode():
        for size in SIZES:
            inputs = graph.example(*size)
            difference = float(np.abs(run(*inputs) - graph(*inputs).numpy()).max())
            if not difference <= TOLERANCE:
                raise UserError(
                    f"{path}: not written, its result at {size[1]} x {size[0]} px differs from PyTorch's by "
                    f"{difference:.1e} and {TOLERANCE:.0e} is allowed; report this with the versions you have installed"
                )
            worst = max(worst, difference)
    return worst


def _about(graph: Graph, weights: Path) -> dict[str, str]:
    return {
        "cliplit_version": metadata.version("cliplit"),
        "model_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "description": " ".join((type(graph).__doc__ or "").split()),
    }


def _frozen(graph: Graph) -> Graph:
    for parameter in graph.parameters():
        parameter.requires_grad_(False)
    return graph.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the exporters off: they speak of what this module has chosen, and its measurement says the rest."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
