"""A network that relights visibly without having been trained: its gain curve is set by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.networks import build_network, save_network


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a grid network that lifts shadows."""
    torch.manual_seed(0)
    config = NetworkConfig(kind="grid", max_gain=8.0)
    network = build_network(config)
    with torch.no_grad():
        network.curve.bias[:-1] += 3.0
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_network(network, config, path)
    return path


@pytest.fixture(scope="session")
def enhancer(weights: Path) -> Enhancer:
    return Enhancer.load(weights, "cpu")


@pytest.fixture
def dark() -> np.ndarray:
    """A dark scene with a bright window, 90 x 120, smooth enough for JPEG."""
    rows, columns = np.mgrid[0:90, 0:120]
    base = 20 + 18 * np.sin(rows / 9) * np.cos(columns / 13)
    scene = np.stack([base, base * 0.8, base * 0.6], axis=2)
    scene[20:50, 70:100] = (230, 225, 215)
    return scene.clip(0, 255).astype(np.uint8)
