"""What the tests of faults share; each notes a figure for the table that tests/conftest.py prints."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [
    str(TESTS / name) for name in ("registry", "graph", "inbox", "faults")
]  # their projects are used here, too

from registry_project import Project  # noqa: E402

Note = Callable[[str, str, str], None]


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Puts a line into the table: what was done, what must hold, and the figure."""

    def add(fault: str, promise: str, figure: str) -> None:
        record_property("fault", (fault, promise, figure))
        print(f"{fault}: {figure}")

    return add


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables."""
    from cliplit.lineage import mlflow_store

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow_store.make_client(folder).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without any version."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_UI_URI", "CLIPLIT_TRACKING", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLIPLIT_PIPELINE_RUN", "run-1")
    path = tmp_path / "project"
    path.mkdir()
    shutil.copy(empty_store, path / "mlflow.db")
    return Project(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is `make faults`."""
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker("faults")
