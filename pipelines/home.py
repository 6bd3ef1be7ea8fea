"""DAGSTER_HOME: where Dagster keeps its history and reads its settings from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def prepare_home(project: Path) -> Path:
    """Set DAGSTER_HOME to ``project``/.dagster with the project's dagster.yaml in it; one that is set stays."""
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    folder = project / ".dagster"
    folder.mkdir(exist_ok=True)
    settings = project / "dagster.yaml"
    if settings.exists():
        shutil.copyfile(settings, folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder
