"""Where MLflow keeps its runs and models, and how to talk to it without ever waiting for long.

This is the only place that imports mlflow, and it does so inside functions: the import is slow.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

log = logging.getLogger("cliplit.tracking")

EXPERIMENT = "cliplit"
DEFAULT_UI = "http://127.0.0.1:5000"
DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
#: Of an address: without it MLflow shows its pages in the view for chat applications, which has no registry in its menu
#: and calls a training an evaluation run.
VIEW = "?workflowType=machine_learning"
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # what MLflow calls an experiment that trains

_PATIENCE_DATABASE = 20.0  # s; the first contact creates the tables, which takes seconds on a slow core
_PATIENCE_SERVER = 4.0  # s
_HURRIED = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_SET_BY_USER = frozenset(_HURRIED) & os.environ.keys()
_ENVIRONMENT = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Files come through the server: the store behind it may have a name that only the server knows (compose.yaml).
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Unreachable(Exception):
    """The tracking server or database cannot be used; the message says why in a few words."""


def tracking_uri(project: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file of the project folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(project / DATABASE).resolve()}"


def prepare(patient: bool = False) -> None:
    """Quiet and offline defaults for mlflow, and how long it waits; what the user set in the environment stands."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, value in (_PATIENT if patient else _HURRIED).items():
        if name not in _SET_BY_USER:
            os.environ[name] = value
    import mlflow  # noqa: F401  (it sets up its own logging, so the levels below must come after)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def make_client(project: Path, patient: bool = False) -> Any:
    """An MlflowClient for ``project``; raises Unreachable at once where nothing listens or nothing can be written.

    ``patient`` is for changes of the registry, which are worth waiting for.
    """
    uri = tracking_uri(project)
    _check_reachable(uri)
    prepare(patient)
    from mlflow.tracking import MlflowClient

    if uri.startswith("sqlite:") and not _database(uri).exists():
        _create(_database(uri))
    return MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


def _create(database: Path) -> None:
    """Make the tables in a file aside and link it in: one cut off in the middle could never be used again."""
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".mlflow-") as folder:
        whole = Path(folder) / database.name
        MlflowClient(tracking_uri=f"sqlite:///{whole}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another process was faster
            os.link(whole, database)


def _database(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


def experiment_id(client: Any, project: Path) -> str:
    """The id of the experiment that holds all runs; it is created where it does not exist."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if tracking_uri(project).startswith("sqlite:"):
        location = (project / ARTIFACTS).resolve().as_uri()
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=_KIND))
    except Exception:
        found = client.get_experiment_by_name(EXPERIMENT)  # another process was faster
        if found is None:
            raise
        return str(found.experiment_id)


def exists(project: Path) -> bool:
    """False when there is certainly nothing recorded yet, so that a question does not create a database."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (project / DATABASE).exists()


def ui_address(project: Path) -> str:
    """Where a browser finds the runs: MLFLOW_UI_URI, the server in use, or the loopback server of `make ui`."""
    uri = tracking_uri(project)
    return (os.environ.get("MLFLOW_UI_URI") or (uri if uri.startswith("http") else DEFAULT_UI)).rstrip("/")


def page(project: Path, path: str) -> str:
    """The address of a page of MLflow for a browser; ``path`` is what MLflow puts behind "#/"."""
    return f"{ui_address(project)}/#/{path}{VIEW}"


def patience(project: Path) -> float:
    """Seconds that one call may take before tracking is given up."""
    return _PATIENCE_DATABASE if tracking_uri(project).startswith("sqlite:") else _PATIENCE_SERVER


def git_commit(project: Path) -> str | None:
    """The commit of the working tree, with "+changes" when tracked files differ from it; None outside git."""
    command = ["git", "-C", str(project), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def locked(project: Path, stage: str, kind: str) -> dict[str, str]:
    """{path: md5} of the "deps" or "outs" of ``stage`` in dvc.lock; empty where the stage has not been run."""
    return {row["path"]: row["md5"] for row in _lock(project).get(stage, {}).get(kind, []) if "md5" in row}


def locked_outputs(project: Path, stage: str) -> dict[str, str]:
    """{output path: md5} of ``stage`` in dvc.lock."""
    return locked(project, stage, "outs")


def all_locked_outputs(project: Path) -> list[tuple[str, str, str]]:
    """(stage, output path, md5) of everything in dvc.lock."""
    return [(stage, *out) for stage in _lock(project) for out in locked_outputs(project, stage).items()]


def _lock(project: Path) -> dict[str, Any]:
    try:
        lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError):
        return {}
    stages: dict[str, Any] = lock.get("stages") or {}
    return stages


def _check_reachable(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "localhost", port), timeout=2).close()
        except OSError as error:
            raise Unreachable(f"{uri} does not answer ({error.strerror or error})") from None
    elif parts.scheme == "sqlite":
        database = _database(uri)
        target = database if database.exists() else database.parent
        if not os.access(target, os.W_OK):
            raise Unreachable(f"{target} cannot be written")


class Worker:
    """Runs calls one after the other in a thread of its own, so that the caller never waits for a slow tracker.

    The first call that raises, or that takes longer than ``patience`` while ``finish`` waits, ends it for good;
    ``problem`` then says why.
    """

    def __init__(self, patience: float) -> None:
        self.problem: str | None = None
        self._patience = patience
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="cliplit-tracking", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], object]) -> None:
        """Queue ``call``; nothing happens after a problem."""
        if self.problem is None:
            self._calls.put(call)

    def finish(self) -> None:
        """Wait for all queued calls, but for none of them longer than the patience."""
        self._calls.put(None)
        self._started = time.monotonic()
        while self._thread.is_alive() and self.problem is None:
            self._thread.join(0.02)
            if time.monotonic() - self._started > self._patience:
                self.problem = f"no answer within {self._patience:.0f} s"

    def _run(self) -> None:
        while self.problem is None and (call := self._calls.get()) is not None:
            self._started = time.monotonic()
            try:
                call()
            except Exception as error:  # whatever the tracker does wrong must not reach the training
                self.problem = _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
