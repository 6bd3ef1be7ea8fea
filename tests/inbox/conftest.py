"""Projects with an inbox; see inbox_project.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from inbox_project import InboxProject, create


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CLIPLIT_PIPELINE_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "dvc-site-cache"))


@pytest.fixture
def project(tmp_path: Path) -> InboxProject:
    """A project without DVC, whose inbox settles at once."""
    return create(tmp_path / "project")
