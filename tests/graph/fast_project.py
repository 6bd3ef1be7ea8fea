"""A project like the real one, with its own dvc.yaml, whose stages take milliseconds."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import yaml
from PIL import Image

from assets.project import stage_key
from cliplit.lineage import graph
from pipelines.definitions import build

ROOT = Path(__file__).parents[2]
FAST_STAGE = Path(__file__).with_name("fast_stage.py")


@dataclass(frozen=True)
class FastProject:
    """A folder with the real dvc.yaml and params.yaml; tests/graph/fast_stage.py stands in for the stages."""

    path: Path

    @property
    def ran(self) -> list[str]:
        """The stages that were really executed so far, in order."""
        log = self.path / "work" / "invocations.txt"
        return (
            [line.split()[1] for line in log.read_text().splitlines() if line.startswith("start ")]
            if log.exists()
            else []
        )

    def forget(self) -> None:
        """Empty the list of executed stages."""
        (self.path / "work" / "invocations.txt").unlink(missing_ok=True)

    def misbehave(self, stage: str, how: str) -> None:
        """Make a stage misbehave: "hang", "silent", "fail", "crash", "nan", or "sleep"."""
        (self.path / "work").mkdir(exist_ok=True)
        (self.path / "work" / f"{stage}.behaviour").write_text(how)

    def behave(self) -> None:
        """Undo all ``misbehave``."""
        for path in (self.path / "work").glob("*.behaviour"):
            path.unlink()

    def set_param(self, dotted: str, value: object) -> None:
        """Change one value of params.yaml."""
        path = self.path / "params.yaml"
        params = yaml.safe_load(path.read_text())
        *parents, last = dotted.split(".")
        inner = params
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def materialize(self, *stages: str, instance: dg.DagsterInstance | None = None) -> dg.ExecuteInProcessResult:
        """Run the job ``train`` over the named stages (all stages, unless some are named) in this process."""
        found = graph.stages(self.path)
        keys = [stage_key(stage) for stage in found if not stages or stage.name in stages]
        job = build().resolve_job_def("train")
        with instance or dg.DagsterInstance.ephemeral() as used:
            return job.execute_in_process(instance=used, asset_selection=keys, raise_on_error=False)

    def processes(self) -> list[psutil.Process]:
        """Every living process that works in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.path:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether ``condition`` became true within ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def create(path: Path) -> None:
    for name in ("params.yaml", ".dvcignore", ".gitignore", "dagster.yaml", "workspace.yaml"):
        shutil.copyfile(ROOT / name, path / name)
    (path / "mlflow").mkdir()
    shutil.copyfile(ROOT / "mlflow" / "server.env", path / "mlflow" / "server.env")
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, path / ".dvc" / name)
    text = (ROOT / "dvc.yaml").read_text().replace("python -m cliplit stage", "python fast_stage.py")
    # The stand-in code lies elsewhere, so that it does not shadow the real package in processes that start here.
    (path / "dvc.yaml").write_text(text.replace("cliplit/", "code/cliplit/"))
    shutil.copyfile(FAST_STAGE, path / "fast_stage.py")
    for index, folder in enumerate(("backlit", "well_lit", "pairs/backlit", "pairs/reference")):
        (path / "data" / "photos" / folder).mkdir(parents=True)
        Image.new("RGB", (32, 24), (index * 40, 90, 120)).save(path / "data" / "photos" / folder / "a.jpg")
    (path / "data" / "champion").mkdir()
    found = graph.stages(path)
    for code in {code for stage in found for code in graph.code_inputs(stage, found)}:
        file = path / code if code.endswith(".py") else path / code / "code.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {code}\n")
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
