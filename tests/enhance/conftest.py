"""A network that relights visibly after a second of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.networks import build_network, enhance, save_network


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a grid network that has learned, from smooth noise, to give the square root of a dark photo."""
    torch.manual_seed(0)
    config = NetworkConfig(kind="grid", max_gain=8.0)
    network = build_network(config)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        image = F.interpolate(torch.rand(4, 3, 8, 8) ** torch.empty(4, 1, 1, 1).uniform_(1, 4), 64, mode="bilinear")
        optimiser.zero_grad()
        F.l1_loss(enhance(network, image), image.sqrt()).backward()
        optimiser.step()
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
