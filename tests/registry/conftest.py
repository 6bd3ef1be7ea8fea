"""Registries in temporary folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_project import Project


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables: making them takes longer than any test."""
    from cliplit.lineage import mlflow_store

    folder = tmp_path_factory.mktemp("store")
    mlflow_store.make_client(folder).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_UI_URI", "CLIPLIT_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLIPLIT_PIPELINE_RUN", "run-1")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def client(project: Project) -> object:
    from cliplit.lineage import mlflow_store

    return mlflow_store.make_client(project.path)


@pytest.fixture
def aliases(project: Project) -> Callable[[], dict[str, int]]:
    """{alias: version} as the registry has it now."""
    from cliplit.lineage import registry

    def read() -> dict[str, int]:
        return {alias: found.number for found in registry.list_versions(project.path) for alias in found.aliases}

    return read
