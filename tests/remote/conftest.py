"""A trained project, its remotes, and fresh clones of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote_project import Project, create

_FOREIGN = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DAGSTER_HOME", "CLIPLIT_PROJECT")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose first model reigns."""
    path = tmp_path_factory.mktemp("remote") / "project"
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, tmp_path_factory)
        assert create(path).train(seed=0, score=0.5).promoted
        yield path


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    _isolate(monkeypatch, tmp_path_factory)


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    path = tmp_path / "project"
    shutil.copytree(template, path, symlinks=True)
    monkeypatch.setenv("CLIPLIT_PROJECT", str(path))
    return Project(path)


@pytest.fixture
def shared(project: Project, tmp_path: Path) -> Project:
    """The project with a folder as DVC's remote and a bare repository as git's."""
    project.dvc("remote", "add", "-q", "-d", "team", str(tmp_path / "remote"))
    project.git("commit", "-qam", "A remote")
    project.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    project.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    return project


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[], Project]:
    """Makes a fresh clone of the bare repository; the project it came from is gone then."""

    def make() -> Project:
        shutil.rmtree(tmp_path / "project")
        Project(tmp_path).git("clone", "-q", "-b", "main", str(tmp_path / "bare.git"), "clone")
        return Project(tmp_path / "clone")

    return make


def _isolate(patch: pytest.MonkeyPatch, factory: pytest.TempPathFactory) -> None:
    for name in _FOREIGN:
        patch.delenv(name, raising=False)
    patch.setenv("CLIPLIT_TRACKING", "off")
    patch.setenv("DVC_SITE_CACHE_DIR", str(factory.getbasetemp() / "dvc-site-cache"))
    patch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
