"""A small project: dataset, three rounds of networks, pairs; and a lighting prior that is arithmetic."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cliplit.config import Params, load_params
from cliplit.evaluation import evaluate, metrics, select
from cliplit.networks import build_network, enhance, save_network
from cliplit.photos.codecs import save_jpeg


class MeanEncoder:
    """Encodes an image as its mean level."""

    device = torch.device("cpu")

    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return image_BCHW.mean((1, 2, 3))[:, None]


class MiddleLight:
    """Likes a mean level of .5: log probability -(level - .5)^2 * 40."""

    @classmethod
    def from_config(cls, vlm, guidance):
        return cls()

    def log_probability(self, image_features_BD: torch.Tensor) -> torch.Tensor:
        return -40 * (image_features_BD[:, 0] - 0.5) ** 2


@pytest.fixture
def encoder() -> MeanEncoder:
    return MeanEncoder()


@pytest.fixture
def light() -> MiddleLight:
    return MiddleLight()


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(Path(__file__).parents[2] / "params.yaml")


def scene(seed: int, level: float) -> np.ndarray:
    """A smooth scene of 60 x 80 whose mean level is about ``level``."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:60, 0:80]
    phase = rng.uniform(0, 6, (3, 2))
    waves = [np.sin(rows / 7 + a) * np.cos(columns / 9 + b) for a, b in phase]
    return (255 * level * (1 + 0.6 * np.stack(waves, axis=2))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def untouched(params: Params) -> nn.Module:
    """A fresh network, which changes almost nothing."""
    torch.manual_seed(0)
    return build_network(params.network)


@pytest.fixture(scope="session")
def lifting(params: Params) -> nn.Module:
    """A network that has learned to double the light of dark scenes."""
    torch.manual_seed(0)
    network = build_network(params.network)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    scenes = np.stack([scene(seed, 0.12) for seed in range(100, 108)])
    image = torch.from_numpy(scenes).permute(0, 3, 1, 2).float() / 255
    for _ in range(40):
        optimiser.zero_grad()
        F.l1_loss(enhance(network, image), 2 * image).backward()
        optimiser.step()
    return network


@pytest.fixture
def project(
    tmp_path: Path, params: Params, untouched: nn.Module, lifting: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Networks: round 0 changes almost nothing, round 1 lifts, round 2 has the bytes of round 1."""
    rows = []
    for role, level in (("backlit", 0.12), ("well_lit", 0.5)):
        for index in range(8):
            name = f"{role}/{index}.jpg"
            pixels = scene(index, level)
            save_jpeg(tmp_path / "artifacts/dataset/photos" / name, pixels)
            split = "train" if index == 0 else "val"
            rows.append({"photo": name, "role": role, "split": split, "mean_level": metrics.mean_level(pixels)})
    pd.DataFrame(rows).to_csv(tmp_path / "artifacts/dataset/manifest.csv", index=False)
    for index in range(3):
        save_jpeg(tmp_path / f"data/photos/pairs/backlit/{index}.jpg", scene(50 + index, 0.12))
        save_jpeg(tmp_path / f"data/photos/pairs/reference/{index}.jpg", scene(50 + index, 0.3))
    for name in params.round_names:
        network = untouched if name == "0" else lifting
        save_network(network, params.network, tmp_path / "artifacts/enhancer" / name / "network.safetensors")
    plots = tmp_path / "artifacts/plots"
    plots.mkdir()
    (plots / "enhancer_0.csv").write_text("step,loss\n1,4.0\n2,2.0\n3,1.0\n", encoding="utf-8")
    for module in (select, evaluate):
        monkeypatch.setattr(module, "resolve_models", lambda guidance, device: (MeanEncoder(), MeanEncoder()))
        monkeypatch.setattr(module, "NamedLight", MiddleLight)
    return tmp_path
