"""Runs in MLflow: one for each pipeline run, below it one for each stage, and the tags that join them to DVC."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from filelock import FileLock

from cliplit.lineage import mlflow_store as store

PIPELINE_RUN = "CLIPLIT_PIPELINE_RUN"  # in the environment: the key of the pipeline run that a process belongs to
_MAX_VALUE = 6000  # characters of a parameter that MLflow stores
_INTERVAL = ("_low", "_high", "_n")


def pipeline_run() -> tuple[str, str]:
    """(key, kind) of the pipeline run that this process belongs to: Dagster's run id, or the `dvc` above us."""
    if key := os.environ.get(PIPELINE_RUN):
        return key, "dagster"
    own = psutil.Process()
    for process in own.parents():
        try:
            words = process.cmdline()[:4]
            if any(Path(word).name in {"dvc", "dvc.exe"} for word in words):
                return f"dvc-{process.pid}-{int(process.create_time())}", "dvc"
        except psutil.Error:
            continue
    return f"stage-{own.pid}-{int(own.create_time())}", "stage"


def lineage_tags(project: Path, dataset: str | None) -> dict[str, str]:
    """The tags that say which code and which photos a run or a version comes from."""
    commit = store.git_commit(project)
    tags = {"cliplit.dataset_md5": dataset, "mlflow.source.git.commit": commit, "cliplit.git_commit": commit}
    return {name: value for name, value in tags.items() if value}


def parent_run(client: Any, experiment: str, project: Path, key: str | None = None, kind: str | None = None) -> Any:
    """The parent run of this pipeline run, or of the one with ``key``, found by its tag or created."""
    if key is None or kind is None:
        key, kind = pipeline_run()
    (project / "work").mkdir(parents=True, exist_ok=True)
    with FileLock(project / "work" / "tracking.lock", timeout=10):
        found = client.search_runs([experiment], f"tags.`cliplit.pipeline_run` = '{key}'", max_results=1)
        if found:
            return found[0]
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        tags = lineage_tags(project, None) | {"cliplit.pipeline_run": key, "cliplit.started_by": kind}
        run = client.create_run(experiment, run_name=f"pipeline {started}", tags=tags)
        log_params(client, run.info.run_id, flatten(_params(project)))
        return run


def parent_of_model(client: Any, experiment: str, project: Path, md5: str) -> str:
    """The id of the pipeline run that a word about the model ``md5`` belongs to.

    Under Dagster the one of now, by hand the one that chose the model; a new one where it is not known.
    """
    if PIPELINE_RUN not in os.environ:
        query = f"tags.`cliplit.stage` = 'select' and tags.`dvc.md5` = '{md5}'"
        found = client.search_runs([experiment], query, max_results=1, order_by=["attributes.start_time DESC"])
        if found and "mlflow.parentRunId" in found[0].data.tags:
            return str(found[0].data.tags["mlflow.parentRunId"])
    return str(parent_run(client, experiment, project).info.run_id)


def record(client: Any, project: Path, stage: str, md5: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
    """A finished child run for what needs no time: a decision about the model ``md5``."""
    experiment = store.experiment_id(client, project)
    parent = parent_of_model(client, experiment, project, md5)
    tags = {"cliplit.stage": stage, "dvc.md5": md5, "mlflow.parentRunId": parent} | tags
    run = client.create_run(experiment, run_name=stage, tags=tags).info.run_id
    for name, value in metrics.items():
        client.log_metric(run, name, value)
    client.set_terminated(run, "FINISHED")
    client.set_terminated(parent, "FINISHED")


def keep_lock(client: Any, project: Path, *run_ids: str) -> None:
    """Keep dvc.lock as it is now with each of the runs."""
    if (project / "dvc.lock").exists():
        for run_id in run_ids:
            client.log_artifact(run_id, str(project / "dvc.lock"))


def log_params(client: Any, run_id: str, flat: dict[str, Any]) -> None:
    """Log parameters, as many in a call as MLflow takes."""
    from mlflow.entities import Param

    params = [Param(name, str(value)[:_MAX_VALUE]) for name, value in flat.items()]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])


def flatten(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def headline(values: dict[str, Any]) -> dict[str, float]:
    """The numbers among ``values`` without the ends and sizes of their confidence intervals."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float)
        and not any(name.endswith(end) and name.removesuffix(end) in values for end in _INTERVAL)
    }


def _params(project: Path) -> dict[str, Any]:
    path = project / "params.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def newest(client: Any, project: Path, stage: str) -> Any:
    """The newest finished run of ``stage``, or None."""
    found = client.search_runs(
        [store.experiment_id(client, project)],
        f"tags.`cliplit.stage` = '{stage}' and attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def tag_run(client: Any, run: Any, md5s: dict[str, str]) -> None:
    """Tag ``run`` with {path: md5}, the first of which stands for all; one that is tagged already is left alone."""
    if "dvc.md5" in run.data.tags:
        return
    for path, md5 in md5s.items():
        client.set_tag(run.info.run_id, f"dvc.md5.{path.replace('@', '-')}", md5)
    client.set_tag(run.info.run_id, "dvc.md5", next(iter(md5s.values())))


def tag_earlier_stages(client: Any, experiment: str, project: Path, parent: str) -> None:
    """Give the finished stages of this pipeline run their md5s: under plain `dvc repro` nobody else does."""
    for run in client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=100):
        md5s = store.locked_outputs(project, run.data.tags.get("cliplit.stage", ""))
        written = (project / "dvc.lock").stat().st_mtime * 1000 if md5s else 0
        if run.info.status == "FINISHED" and md5s and written >= run.info.end_time:
            tag_run(client, run, md5s)
    keep_lock(client, project, parent)


def process_name() -> str:
    """This process, so that another of this machine can tell whether it is still there."""
    return f"{_machine()}:{os.getpid()}:{int(psutil.Process().create_time())}"


def close_abandoned(client: Any, experiment: str, stage: str) -> None:
    """Runs of ``stage`` whose process on this machine is gone end as KILLED, they would show as running for ever."""
    machine = _machine()
    query = f"tags.`cliplit.stage` = '{stage}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment], query, max_results=100):
        name, _, process = run.data.tags.get("cliplit.process", "").partition(":")
        pid, _, started = process.partition(":")
        if name == machine and pid.isdigit() and not _alive(int(pid), started):
            client.set_terminated(run.info.run_id, "KILLED")


def _machine() -> str:
    """This machine, the same after a reboot; hashed, since runs are shown to people whom its name does not concern."""
    return hashlib.sha256(f"cliplit {socket.gethostname()}".encode()).hexdigest()[:12]


def _alive(pid: int, started: str) -> bool:
    try:
        return str(int(psutil.Process(pid).create_time())) == started
    except psutil.Error:
        return False
