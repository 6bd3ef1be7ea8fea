"""A real project that trains in seconds, and both its web pages, started as `make ui` starts them."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cliplit.lineage import dvc
from cliplit.photos.demo import render_demo

ROOT = Path(__file__).parents[2]
START_SECONDS = 240.0  # s that the servers get on a busy machine; some 15 on a quiet one
_STEPS = {"steps": 2, "learning_rate": 0.001}
_TINY: dict[str, Any] = {
    "device": "cpu",
    "curate": {"long_side": 96},
    "training": {"batch": 2, "prompt_batch": 8, "crop": 48, "crops_per_photo": 1, "checkpoint_steps": 50},
    "warm_start": {"steps": 2},
    "prompts": {"steps": 4},
    "enhancer": {"steps": 30, "learning_rate": 0.004},
    "rounds": {number: {"previous": str(int(number) - 1), "prompts": _STEPS, "enhancer": _STEPS} for number in "12"},
    # These tests are about pages: a model of forty steps shall pass the gates, on a busy machine too.
    "promotion": {"min_harmless_db": 0, "max_harmed_share": 1.0, "max_ms_per_megapixel": 1_000_000},
}


@dataclass(frozen=True)
class Pages:
    """Where Dagster and MLflow answer, without a slash at the end, and the project that they show."""

    dagster: str
    mlflow: str
    project: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The ``data`` of Dagster's answer to a GraphQL query; raises AssertionError with its errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.dagster}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.load(answer)
        assert "errors" not in told, told["errors"]
        return told["data"]


def create(path: Path) -> None:
    """A project folder at ``path`` with the real dvc.yaml and code, few steps, and rendered photos."""
    path.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "dagster.yaml", "workspace.yaml"):
        shutil.copyfile(ROOT / name, path / name)
    for folder in ("cliplit", "mlflow"):
        shutil.copytree(ROOT / folder, path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, path / ".dvc" / name)
    (path / "data" / "champion").mkdir(parents=True)
    params = yaml.safe_load((path / "params.yaml").read_text())
    for key, value in _TINY.items():
        params[key] = params[key] | value if isinstance(value, dict) and key != "rounds" else value
    (path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    render_demo(path, count=8, pairs=2)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=path, check=True)


@contextmanager
def served(project: Path, site_cache: Path) -> Iterator[Pages]:
    """Both servers over ``project`` on free ports of 127.0.0.1; they are stopped as Ctrl-C stops them."""
    environment = {**dvc.dvc_environment(), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CLIPLIT_TRACKING", "CLIPLIT_PIPELINE_RUN", "CLIPLIT_PROJECT"):
        environment.pop(name, None)
    environment |= {"DVC_SITE_CACHE_DIR": str(site_cache), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pipelines.ui"]
    ui = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told = _told(ui, project)
        yield Pages(told["Dagster"], told["MLflow"].split("/#")[0], project)
    finally:
        ui.send_signal(signal.SIGINT)
        try:
            ui.wait(60)
        finally:
            ui.kill()


def _told(ui: subprocess.Popen[str], project: Path) -> dict[str, str]:
    """{server: address} as `make ui` prints them, once both answer."""
    lines: queue.Queue[str] = queue.Queue()
    assert ui.stdout is not None
    threading.Thread(target=lambda: [lines.put(line) for line in ui.stdout or ()], daemon=True).start()
    printed: list[str] = []
    until = time.monotonic() + START_SECONDS
    while not any(line.startswith("Ready") for line in printed):
        log = project / ".dagster" / "ui.log"
        why = f"the pages did not start: {printed} {log.read_text()[-3000:] if log.exists() else ''}"
        assert ui.poll() is None and time.monotonic() < until, why
        try:
            printed.append(lines.get(timeout=0.5))
        except queue.Empty:
            continue
    return dict(line.split(maxsplit=1) for line in map(str.strip, printed[-3:-1]))


def wait_for(what: Any, seconds: float, said: str) -> Any:
    """What ``what()`` returns once it is true; raises AssertionError with ``said`` after ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {said}")
