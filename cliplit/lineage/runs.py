"""Runs in MLflow: one for each pipeline run, below it one for each stage, and the tags that join them to DVC."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from cliplit.lineage import mlflow_store as store


def pipeline_run() -> tuple[str, str]:
    """(key, kind) of the pipeline run that this process belongs to: Dagster's run id, or the `dvc` above us."""
    if key := os.environ.get("CLIPLIT_PIPELINE_RUN"):
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


def parent_run(client: Any, experiment: str, project: Path) -> Any:
    """The parent run of this pipeline run, found by its tag or created."""
    key, kind = pipeline_run()
    (project / "work").mkdir(parents=True, exist_ok=True)
    with FileLock(project / "work" / "tracking.lock", timeout=10):
        found = client.search_runs([experiment], f"tags.`cliplit.pipeline_run` = '{key}'", max_results=1)
        if found:
            return found[0]
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        tags = lineage_tags(project, None) | {"cliplit.pipeline_run": key, "cliplit.started_by": kind}
        return client.create_run(experiment, run_name=f"pipeline {started}", tags=tags)


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


def process_name() -> str:
    """This process, so that another can tell whether it is still there."""
    return f"{socket.gethostname()}:{os.getpid()}:{int(psutil.Process().create_time())}"


def close_abandoned(client: Any, experiment: str, stage: str) -> None:
    """Runs of ``stage`` whose process on this machine is gone end as KILLED, they would show as running for ever."""
    host = socket.gethostname()
    query = f"tags.`cliplit.stage` = '{stage}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment], query, max_results=100):
        name, _, process = run.data.tags.get("cliplit.process", "").partition(":")
        pid, _, started = process.partition(":")
        if name == host and pid.isdigit() and not _alive(int(pid), started):
            client.set_terminated(run.info.run_id, "KILLED")


def _alive(pid: int, started: str) -> bool:
    try:
        return str(int(psutil.Process(pid).create_time())) == started
    except psutil.Error:
        return False
