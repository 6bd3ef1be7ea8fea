"""A project folder that bad input is brought to, through the same command lines that people type."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_project import Project

from cliplit.config import NetworkConfig
from cliplit.networks import build_network, save_network
from cliplit.photos.codecs import save_jpeg
from cliplit.photos.demo import render_demo
from cliplit.stages import run_stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    render_demo(folder, count=8, pairs=1)
    return folder / "data"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without photos."""
    path = tmp_path / "project"
    path.mkdir()
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "dagster.yaml"):
        shutil.copyfile(ROOT / name, path / name)
    (path / ".dvc").mkdir()
    shutil.copyfile(ROOT / ".dvc" / "config", path / ".dvc" / "config")
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CLIPLIT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return Project(path, monkeypatch)


@pytest.fixture
def with_photos(project: Project, demo_photos: Path) -> Project:
    shutil.copytree(demo_photos, project.path / "data")
    return project


@pytest.fixture
def curated(with_photos: Project) -> Project:
    run_stage("curate", None, with_photos.path)
    return with_photos


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    config = NetworkConfig(kind="grid", max_gain=8.0)
    save_network(build_network(config), config, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of ``count`` different photos."""

    def make(name: str, count: int, level: int) -> Path:
        for index in range(count):
            rng = np.random.default_rng([level, index])
            coarse = rng.uniform(0.2 * level, 1.8 * level, (6, 8, 3)).clip(0, 255)
            save_jpeg(tmp_path / name / f"{index}.jpg", coarse.repeat(12, 0).repeat(12, 1).astype(np.uint8))
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return make
