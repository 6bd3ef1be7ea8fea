"""A network that relights visibly after a second of training, for all tests that need some network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cliplit.config import NetworkConfig
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
