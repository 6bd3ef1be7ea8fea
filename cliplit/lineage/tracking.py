"""What a run measured: JSON lines always, MLflow where it can be reached, and never at the cost of the run.

MLflow holds one parent run for each pipeline run and below it one child for each stage that was computed. A stage
that resumes after a kill gets a new child, which is given the whole curve, the steps before the kill included; the
child that was cut off is closed as KILLED. What a stage could not send waits in work/unsent, and goes with the next
stage that reaches MLflow. CLIPLIT_TRACKING=off leaves MLflow out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cliplit.lineage import mlflow_store as store
from cliplit.lineage import runs, unsent
from cliplit.lineage.journal import Journal, Point
from cliplit.lineage.sink import RunSink, warn

_FLUSH_SECONDS = 2.0
_BATCH = 1000  # metrics that MLflow takes in one call


class Tracker:
    """Curves, pictures and files of one stage; none of its methods waits for MLflow or raises because of it."""

    def __init__(self, journal: Journal, sink: RunSink | None) -> None:
        self._journal = journal
        self._sink = sink
        self._buffer: list[Point] = []
        self._names: set[str] = set()
        self._flushed = time.monotonic()

    @property
    def in_mlflow(self) -> bool:
        """Whether pictures and files are kept anywhere."""
        return self._sink is not None

    @property
    def sent(self) -> bool:
        """Whether MLflow has taken everything so far."""
        return self._sink is not None and self._sink.problem is None

    @property
    def run_id(self) -> str | None:
        """The run in MLflow, None where none was begun."""
        return self._sink.run_id if self._sink else None

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Add one point to the curve ``name``."""
        self.metrics({name: value}, step)

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Add one point to each of several curves."""
        numbers = {name: float(value) for name, value in values.items()}
        self._names |= numbers.keys()
        self._buffer += self._journal.append(numbers, step)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS or len(self._buffer) >= _BATCH:
            self._flush()

    def results(self, values: dict[str, Any], headline: bool = False) -> None:
        """Numbers about the stage as a whole; one that has a curve already keeps it.

        With ``headline`` the pipeline run above the stage shows them too.
        """
        numbers = {name: value for name, value in runs.headline(values).items() if name not in self._names}
        self.metrics(numbers)
        if self._sink is not None and headline:
            self._flush()
            self._sink.on_parent(numbers)

    def tags(self, values: dict[str, str]) -> None:
        """Decisions of the stage, as tags of its run and of the pipeline run above it."""
        if self._sink is not None and values:
            self._sink.tag({f"cliplit.{name}": value for name, value in values.items()})

    def image(self, name: str, path: Path) -> None:
        """Keep the picture at ``path`` under images/``name`` (the suffix is taken from the path)."""
        target = name if name.endswith(path.suffix) else name + path.suffix
        if self._sink is not None:
            self._sink.keep(f"images/{target}", path.read_bytes())

    def text(self, name: str, text: str) -> None:
        """Keep a text under ``name``."""
        if self._sink is not None:
            self._sink.keep(name, text.encode())

    def file(self, path: Path) -> None:
        """Keep the file at ``path`` under its own name."""
        if self._sink is not None:
            self._sink.keep(path.name, path.read_bytes())

    def _flush(self) -> None:
        points, self._buffer = self._buffer, []
        self._flushed = time.monotonic()
        if self._sink is not None and points:
            self._sink.points(points)

    def _close(self, status: str) -> None:
        self._buffer += self._journal.close()
        self._flush()
        if self._sink is not None:
            self._sink.close(status)


@contextmanager
def track_stage(stage: str, params: dict[str, Any], project: Path = Path()) -> Iterator[Tracker]:
    """Track one execution of ``stage``; ``params`` is what it was given, nested as in params.yaml."""
    dataset = dataset_md5(project) if stage != "curate" else None
    flat = runs.flatten(params)
    journal = Journal(
        project / "work" / stage.replace("@", "-") / "metrics.jsonl",
        {"stage": stage, "params": flat, "dataset_md5": dataset},
    )
    tracker = Tracker(journal, _open_sink(stage, flat, dataset, project))
    status = "FAILED"
    started = time.time()
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker._close(status)
        if _enabled() and not tracker.sent:
            run = {"run_id": tracker.run_id, "tags": runs.lineage_tags(project, dataset), "params": flat}
            unsent.keep(project, stage, journal.path, run | {"status": status, "started": started})


def tag_outputs(project: Path, stage: str, md5s: dict[str, str]) -> None:
    """Tag the newest finished run of ``stage`` with the md5 that DVC gave its outputs ({path: md5}, outputs in order).

    A run that is tagged already is left alone: the outputs then came from the cache, not from that run.
    """

    def tag() -> None:
        client = store.make_client(project)
        run = runs.newest(client, project, stage)
        if run is not None:
            runs.tag_run(client, run, md5s)
            parent = run.data.tags.get("mlflow.parentRunId")
            runs.keep_lock(client, project, run.info.run_id, *([parent] if parent else []))

    if md5s and store.exists(project) and _enabled():
        _bounded(tag, project)


def run_url(project: Path, stage: str) -> str | None:
    """Where a browser finds the newest finished run of ``stage``; None when there is none or MLflow is away."""
    found: list[str] = []

    def look() -> None:
        run = runs.newest(store.make_client(project), project, stage)
        if run is not None:
            found.append(f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}")

    if store.exists(project) and _enabled():
        _bounded(look, project)
    return store.page(project, found[0]) if found else None


def dataset_md5(project: Path) -> str | None:
    """The md5 of the curated dataset in dvc.lock: it stands for the photos that a model learned from."""
    return store.locked_outputs(project, "curate").get("artifacts/dataset")


def _open_sink(stage: str, flat: dict[str, Any], dataset: str | None, project: Path) -> RunSink | None:
    if not _enabled():
        return None
    try:
        store.prepare()  # here, not in the thread: two threads importing at once can see half-made modules
        return RunSink(stage, flat, dataset, project)
    except Exception as error:
        warn(str(error))
        return None


def _enabled() -> bool:
    return os.environ.get("CLIPLIT_TRACKING", "").lower() not in {"off", "0", "false", "no"}


def _bounded(call: Callable[[], None], project: Path) -> None:
    """Run ``call`` for a bounded time; a problem is one warning."""
    store.prepare()
    worker = store.Worker(store.patience(project))
    worker.submit(call)
    worker.finish()
    if worker.problem:
        store.log.warning("MLflow could not be asked: %s.", worker.problem.rstrip("."))
