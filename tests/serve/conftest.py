"""Projects with a registry, and applications in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serve_project import Project, Server

from cliplit.serve.app import create_app
from cliplit.serve.follower import Follower
from cliplit.serve.limits import Limits


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables: making them takes longer than any test."""
    from cliplit.lineage import mlflow_store

    folder = tmp_path_factory.mktemp("serve_store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow_store.make_client(folder).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_UI_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, empty_registry: Path) -> Project:
    """A project in which nothing reigns yet."""
    shutil.copyfile(empty_registry, tmp_path / "mlflow.db")
    return Project(tmp_path)


@pytest.fixture(scope="session")
def shipped() -> Follower:
    """The model that comes with cliplit."""
    from cliplit.enhancer import SHIPPED

    return Follower(SHIPPED, device="cpu")


@pytest.fixture
def client(shipped: Follower) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of applications with the limits that are given."""
    opened: list[TestClient] = []

    def make(**limits: object) -> TestClient:
        opened.append(TestClient(create_app(shipped, Limits(**limits)), raise_server_exceptions=False).__enter__())
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers in the test's folder; none outlives it."""
    started: list[Server] = []

    def start(*options: str) -> Server:
        started.append(Server(tmp_path, *options))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
