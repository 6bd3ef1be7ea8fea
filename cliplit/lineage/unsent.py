"""Curves that MLflow missed while it was away: kept in work/unsent, sent when it answers again.

A file is a journal as the stage left it, below a line that says which run it belongs to. Sending is idempotent: a run
that was made for a file carries its name, points that MLflow has are not added twice, and the file goes last.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cliplit.errors import UserError
from cliplit.files import write_text
from cliplit.lineage import mlflow_store as store
from cliplit.lineage import runs
from cliplit.lineage.journal import Point, read_points

FOLDER = Path("work") / "unsent"
_BATCH = 1000  # metrics that MLflow takes in one call
_TAG = "cliplit.unsent"


def keep(project: Path, stage: str, journal: Path, run: dict[str, Any]) -> None:
    """Put a copy of ``journal`` aside; ``run`` has run_id (or None), flat params, tags, status and started (s)."""
    key, kind = runs.pipeline_run()
    note = {"stage": stage, "pipeline": [key, kind], "ended": time.time(), **run}
    _, *lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    name = f"{journal.parent.name}-{time.time_ns()}.jsonl"
    write_text(project / FOLDER / name, json.dumps(note, default=str) + "\n" + "".join(lines))


def waiting(project: Path) -> list[Path]:
    """The files that wait, oldest first."""
    return sorted((project / FOLDER).glob("*.jsonl"), key=lambda path: path.stem.rpartition("-")[2])


def upload(client: Any, project: Path) -> list[str]:
    """Send everything that waits; returns a sentence for each run. Another process that sends is left alone."""
    if not waiting(project):
        return []
    try:
        with FileLock(project / FOLDER / "upload.lock", timeout=0):
            return [_send(client, project, path) for path in waiting(project)]
    except Timeout:
        return []


def upload_patiently(project: Path) -> list[str]:
    """As ``upload``, with a client of its own; raises UserError where MLflow is still away."""
    if not waiting(project):
        return []
    try:
        return upload(store.make_client(project, patient=True), project)
    except store.Unreachable as error:
        raise UserError(f"the curves cannot be sent: {error}; start it or unset MLFLOW_TRACKING_URI") from None


def _send(client: Any, project: Path, path: Path) -> str:
    """One file; it is removed when MLflow has all of it."""
    from mlflow.entities import Metric

    try:
        note = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    except (ValueError, IndexError):
        path.rename(path.with_suffix(".damaged"))
        return f"{path}: it does not say which run it belongs to; it stays as {path.stem}.damaged."
    points: list[Point] = read_points(path)
    run_id = _run_of(client, project, path.stem, note)
    metrics = [Metric(name, value, int(when * 1000), step) for name, value, step, when in points]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    client.set_terminated(run_id, note["status"], int(note["ended"] * 1000))
    md5s = store.locked_outputs(project, note["stage"])
    newest = runs.newest(client, project, note["stage"])
    if md5s and newest is not None and newest.info.run_id == run_id:
        runs.tag_run(client, newest, md5s)
    path.unlink()
    return f"{note['stage']}: {len(points)} points went to run {run_id}."


def _run_of(client: Any, project: Path, name: str, note: dict[str, Any]) -> str:
    """The run that the stage had begun, or one that is made for it now, below the pipeline run of then."""
    from mlflow.exceptions import MlflowException

    experiment = store.experiment_id(client, project)
    if note["run_id"]:
        try:
            return str(client.get_run(note["run_id"]).info.run_id)
        except MlflowException:
            store.log.warning("Run %s is not known to this MLflow; another is made for it.", note["run_id"])
    found = client.search_runs([experiment], f"tags.`{_TAG}` = '{name}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    parent = runs.parent_run(client, experiment, project, *note["pipeline"])
    if note["pipeline"][0] != runs.pipeline_run()[0]:
        client.set_terminated(parent.info.run_id, note["status"])
    tags = note["tags"] | {"cliplit.stage": note["stage"], "mlflow.parentRunId": parent.info.run_id, _TAG: name}
    started = int(note["started"] * 1000)
    run = client.create_run(experiment, start_time=started, run_name=note["stage"], tags=tags)
    runs.log_params(client, run.info.run_id, note["params"])
    return str(run.info.run_id)
