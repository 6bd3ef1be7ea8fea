"""Projects that other tests work in; see fast_project.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_project import FastProject, create

from cliplit.lineage import dvc


@pytest.fixture(scope="session")
def trained_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "project"
    path.mkdir()
    create(path)
    done = dvc.run_dvc(path, "repro", "-q")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    site_cache = tmp_path_factory.getbasetemp() / "dvc-site-cache"
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(site_cache))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastProject:
    """A project in which nothing has run."""
    path = tmp_path / "project"
    path.mkdir()
    create(path)
    monkeypatch.setenv("CLIPLIT_PROJECT", str(path))
    return FastProject(path)


@pytest.fixture
def trained(trained_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastProject]:
    """A project in which every stage has run once."""
    path = tmp_path / "project"
    shutil.copytree(trained_template, path, symlinks=True)
    monkeypatch.setenv("CLIPLIT_PROJECT", str(path))
    project = FastProject(path)
    project.forget()
    yield project
    for process in project.processes():  # only after a failed test
        process.kill()
