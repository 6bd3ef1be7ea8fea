"""A project folder with the real stages, and what is done in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from cliplit.lineage import dvc


@dataclass(frozen=True)
class Project:
    """A project folder, and how to run things in it as a user does."""

    path: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``python -m ARGUMENTS`` in the folder, with its copy of the code."""
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=self.path, env=environment(), capture_output=True, text=True
        )

    def set_param(self, dotted: str, value: object) -> None:
        """Change one value of params.yaml."""
        params = yaml.safe_load((self.path / "params.yaml").read_text())
        *parents, last = dotted.split(".")
        inner = params
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def environment(**more: str) -> dict[str, str]:
    """What processes of these tests get; `python` is this interpreter, as in an activated environment."""
    return {**dvc.dvc_environment(), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def materialize(project: Path, **options: Any) -> dg.ExecuteInProcessResult:
    """Run the job train over ``project`` in this process."""
    from pipelines.definitions import build

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPLIT_PROJECT", str(project))
        for name, value in environment().items():
            patch.setenv(name, value)
        job = build().resolve_job_def("train")
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(instance=instance, raise_on_error=False, **options)


def executed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """{asset: whether its stage was executed} of everything that was materialized by DVC."""
    made = [event.materialization for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    by_dvc = [one for one in made if "cache_hit" in one.metadata]
    return {one.asset_key.to_user_string(): not one.metadata["cache_hit"].value for one in by_dvc}
