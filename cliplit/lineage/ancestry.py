"""Where a registered version comes from: photos, parameters, code and runs, joined by the md5s of its dvc.lock."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cliplit.files import read_json
from cliplit.lineage import aliases, runs
from cliplit.lineage import mlflow_store as store
from cliplit.lineage.aliases import Version

_COUNTS = ("backlit_train", "backlit_val", "well_lit_train", "well_lit_val", "pairs")


@dataclass(frozen=True)
class StageRun:
    """The run that made a stage's output ``md5``; id and address are None where MLflow has none with that md5."""

    stage: str
    md5: str
    run_id: str | None
    url: str | None


@dataclass(frozen=True)
class Ancestry:
    """What one version came from; ``photos`` counts them by role and split, ``lock`` is dvc.lock as it was."""

    version: Version
    photos: dict[str, int]
    params: dict[str, Any]  # by dotted key, as DVC recorded what the stages read
    runs: tuple[StageRun, ...]
    pipeline: StageRun | None  # the run above them
    lock: str | None


def ancestry(project: Path, version: Version) -> Ancestry:
    """Everything the registry, MLflow's runs and the kept dvc.lock say about ``version``."""
    client = aliases.client_of(project)
    lock = _lock(client, version)
    stages: dict[str, Any] = (yaml.safe_load(lock) or {}).get("stages") or {} if lock else {}
    experiment = store.experiment_id(client, project)
    made = tuple(_stage_run(client, project, experiment, name, stage) for name, stage in stages.items())
    params: dict[str, Any] = {}
    for stage in stages.values():
        params |= runs.flatten((stage.get("params") or {}).get("params.yaml") or {})
    return Ancestry(
        version,
        _photos(client, project, made),
        dict(sorted(params.items())),
        made,
        _parent(client, project, version),
        lock,
    )


def _lock(client: Any, version: Version) -> str | None:
    """dvc.lock as it was when the version was registered; None where MLflow has lost it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(version.run_id, "dvc.lock", folder)).read_text(encoding="utf-8")
        except Exception as error:  # MLflow raises its own kinds, those of its stores, and OSError
            store.log.warning("The dvc.lock of version %d cannot be read (%s).", version.number, type(error).__name__)
            return None


def _stage_run(client: Any, project: Path, experiment: str, name: str, stage: dict[str, Any]) -> StageRun:
    md5 = next((out["md5"] for out in stage.get("outs") or [] if "md5" in out), "")
    query = f"tags.`cliplit.stage` = '{name}' and tags.`dvc.md5` = '{md5}'"
    found = client.search_runs([experiment], query, max_results=1, order_by=["attributes.start_time DESC"])
    return _as_run(project, name, md5, found[0] if found else None)


def _parent(client: Any, project: Path, version: Version) -> StageRun | None:
    if version.run_id is None:
        return None
    parent = client.get_run(version.run_id).data.tags.get("mlflow.parentRunId")
    return _as_run(project, "pipeline", "", client.get_run(parent)) if parent else None


def _photos(client: Any, project: Path, made: tuple[StageRun, ...]) -> dict[str, int]:
    """Counts of the curated photos: from the run that curated them, or from here where they are still those."""
    curate = next((run for run in made if run.stage == "curate"), None)
    metrics: dict[str, float] = client.get_run(curate.run_id).data.metrics if curate and curate.run_id else {}
    here = project / "artifacts" / "metrics" / "dataset.json"
    if not metrics and curate and here.is_file():
        same = store.locked_outputs(project, "curate").get("artifacts/dataset") == curate.md5
        metrics = read_json(here) if same else {}
    return {name: int(metrics[name]) for name in _COUNTS if name in metrics}


def _as_run(project: Path, stage: str, md5: str, run: Any) -> StageRun:
    if run is None:
        return StageRun(stage, md5, None, None)
    address = store.page(project, f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    return StageRun(stage, md5, run.info.run_id, address)
