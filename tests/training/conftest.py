"""A small curated project: dark and bright photos, and a randomly initialised model of lumiclip's architecture."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml
from safetensors.torch import save_file

from cliplit.guidance.vlm import read_architecture
from cliplit.photos.codecs import save_jpeg

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        clip = open_clip.CLIP(**read_architecture()).eval()
        # Untrained features all point one way; centred over greys, they tell dark from bright.
        greys = torch.linspace(-1.5, 1.5, 9).view(-1, 1, 1, 1).expand(-1, 3, 96, 96) + 0.1 * torch.randn(9, 3, 96, 96)
        clip.visual.attnpool.c_proj.bias -= clip.visual(greys).mean(0)
    tensors = {name: value.contiguous() for name, value in clip.state_dict().items()}
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def curated(tmp_path_factory, weights) -> Path:
    project = tmp_path_factory.mktemp("curated")
    folder = project / "artifacts" / "dataset"
    rows = []
    for role, (low, high) in {"backlit": (5, 70), "well_lit": (70, 230)}.items():
        for number in range(8):
            rng = np.random.default_rng([number, low])
            coarse = rng.uniform(low, high, (4, 5, 3))
            pixels = coarse.repeat(24, 0).repeat(24, 1) + rng.normal(0, 3, (96, 120, 3))
            name = f"{role}/{number}.jpg"
            save_jpeg(folder / "photos" / name, pixels.clip(0, 255).astype(np.uint8))
            rows.append({"photo": name, "role": role, "split": "val" if number < 2 else "train"})
    columns = {"scene": "s", "source": "x", "sha256": "0", "width": 120, "height": 96, "mean_level": 0.5}
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *columns])
        writer.writeheader()
        writer.writerows(row | columns for row in rows)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    model = {"name": "lumiclip", "weights": str(weights)}
    params |= {
        "device": "cpu",
        "guidance": params["guidance"] | {"prompt_model": model, "identity_model": model},
        "training": params["training"] | {"batch": 2, "prompt_batch": 16, "crop": 64, "checkpoint_steps": 4},
        "warm_start": {"steps": 6, "learning_rate": 0.001},
        "prompts": {"steps": 40, "learning_rate": 0.01},
        "enhancer": {"steps": 14, "learning_rate": 0.002},
        "rounds": {
            str(number): {
                "previous": str(number - 1),
                "prompts": {"steps": 60, "learning_rate": 0.01},
                "enhancer": {"steps": 8, "learning_rate": 0.001},
            }
            for number in (1, 2)
        },
    }
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return project


@pytest.fixture
def project(curated, tmp_path, monkeypatch) -> Path:
    """A copy of the curated project, with tracking in files only and one thread."""
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    shutil.copytree(curated, tmp_path / "project")
    yield tmp_path / "project"
    torch.set_num_threads(before)
