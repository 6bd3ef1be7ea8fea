"""The MLflow side of a stage that runs: a thread that sends, and gives up rather than make the stage wait."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cliplit.lineage import mlflow_store as store
from cliplit.lineage import runs, unsent
from cliplit.lineage.journal import Point

_BATCH = 1000  # metrics that MLflow takes in one call


class RunSink:
    """The MLflow side of a tracker; every call goes through a worker thread and is dropped after a problem."""

    def __init__(self, stage: str, flat: dict[str, Any], dataset: str | None, project: Path) -> None:
        self._stage, self._flat, self._dataset, self._project = stage, flat, dataset, project
        self._client: Any = None
        self._run: Any = None
        self._parent: Any = None
        self._warned = False
        self._worker = store.Worker(store.patience(project))
        self._worker.submit(self._start)
        self._worker.submit(lambda: unsent.upload(self._client, project))

    @property
    def problem(self) -> str | None:
        """Why MLflow has not everything, None while it has."""
        return self._worker.problem

    @property
    def run_id(self) -> str | None:
        """The run, None before it is begun."""
        return str(self._run.info.run_id) if self._run is not None else None

    def points(self, points: list[Point]) -> None:
        """Send points, as many in a call as MLflow takes."""
        self._submit(lambda: self._send(points, self._run))

    def on_parent(self, values: dict[str, float]) -> None:
        """Show ``values`` on the pipeline run."""
        now = time.time()
        points = [Point(name, value, 0, now) for name, value in values.items()]
        self._submit(lambda: self._send(points, self._parent))

    def tag(self, tags: dict[str, str]) -> None:
        """Tag this run and the pipeline run."""
        self._submit(lambda: self._tag(tags))

    def keep(self, name: str, data: bytes) -> None:
        """Keep ``data`` as the artifact ``name``."""
        self._submit(lambda: self._keep(name, data))

    def close(self, status: str) -> None:
        """End the run and wait for what is queued, for a bounded time."""
        self._submit(lambda: self._end(status))
        self._worker.finish()
        self._complain()

    def _submit(self, call: Callable[[], None]) -> None:
        self._worker.submit(call)
        self._complain()

    def _complain(self) -> None:
        if self._worker.problem and not self._warned:
            self._warned = True
            warn(self._worker.problem)

    def _start(self) -> None:
        self._client = client = store.make_client(self._project)
        experiment = store.experiment_id(client, self._project)
        runs.close_abandoned(client, experiment, self._stage)
        self._parent = runs.parent_run(client, experiment, self._project)
        client.update_run(self._parent.info.run_id, status="RUNNING")
        runs.tag_earlier_stages(client, experiment, self._project, self._parent.info.run_id)
        tags = runs.lineage_tags(self._project, self._dataset) | {
            "mlflow.parentRunId": self._parent.info.run_id,
            "cliplit.stage": self._stage,
            "cliplit.process": runs.process_name(),
            "cliplit.params": hashlib.md5(json.dumps(self._flat, sort_keys=True, default=str).encode()).hexdigest(),
        }
        self._run = client.create_run(experiment, run_name=self._stage, tags=tags)
        runs.log_params(client, self._run.info.run_id, self._flat)

    def _send(self, points: list[Point], run: Any) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, int(when * 1000), step) for name, value, step, when in points]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run.info.run_id, metrics=metrics[start : start + _BATCH])

    def _tag(self, tags: dict[str, str]) -> None:
        for run in (self._run, self._parent):
            for name, value in tags.items():
                self._client.set_tag(run.info.run_id, name, value)

    def _keep(self, name: str, data: bytes) -> None:
        target = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / target.name
            local.write_bytes(data)
            inside = None if target.parent == Path() else target.parent.as_posix()
            self._client.log_artifact(self._run.info.run_id, str(local), inside)

    def _end(self, status: str) -> None:
        self._client.set_terminated(self._run.info.run_id, status)
        self._client.set_terminated(self._parent.info.run_id, status)


def warn(problem: str) -> None:
    """Say once that MLflow does not take part."""
    store.log.warning("MLflow is not tracking this run: %s; the curves are in work/ all the same.", problem.rstrip("."))
