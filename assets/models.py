"""The model's way into service: registered as challenger, promoted to champion when it is better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from assets.project import POOL
from cliplit.errors import UserError
from cliplit.lineage import mlflow_store, registry

_GROUP = "models"
_OWNERS = ["team:cliplit"]


def model_assets(project: Path) -> list[dg.AssetsDefinition]:
    """challenger and champion, in the registry of ``project``."""

    @dg.asset(
        key="challenger",
        deps=["select", "evaluate", "report"],
        group_name=_GROUP,
        kinds={"mlflow"},
        owners=_OWNERS,
        pool=POOL,
        description="The judged model as a version in MLflow's registry, once for each DVC md5, alias `challenger`.",
    )
    def challenger() -> dg.MaterializeResult:
        with _one_sentence():
            version = registry.register_challenger(project)
        return dg.MaterializeResult(data_version=dg.DataVersion(version.md5), metadata=describe(project, version))

    @dg.asset(
        key="champion",
        deps=["challenger"],
        group_name=_GROUP,
        kinds={"mlflow"},
        owners=_OWNERS,
        pool=POOL,
        description="The model that serves, alias `champion`: the challenger, where it beats the one before on "
        "params.yaml's promotion.metric. `cliplit models rollback` undoes a promotion.",
    )
    def champion() -> dg.MaterializeResult:
        with _one_sentence():
            outcome = registry.promote(project, remeasure=lambda weights: remeasure(project, weights))
        reigning = outcome.version if outcome.promoted else outcome.champion_before or outcome.version
        told = {"promoted": outcome.promoted, "reason": outcome.reason, "challenger": outcome.version.number}
        print(f"champion: version {reigning.number}; {outcome.reason}", flush=True)
        metadata = describe(project, reigning) | told
        return dg.MaterializeResult(data_version=dg.DataVersion(reigning.md5), metadata=metadata)

    return [challenger, champion]


def remeasure(project: Path, weights: Path) -> float:
    """The declared metric of ``weights`` on the photos of today, measured as the stage evaluate does."""
    import pandas as pd  # these and torch take seconds to import: not while Dagster loads the graph

    from cliplit.config import load_params
    from cliplit.enhancer import Enhancer, pick_device
    from cliplit.evaluation import evaluate, heldout
    from cliplit.guidance.light import NamedLight
    from cliplit.guidance.vlm import resolve_models

    params = load_params(project / "params.yaml")
    enhancer = Enhancer.load(weights, params.device)
    vlm, _ = resolve_models(params.guidance, pick_device(params.device))
    light = NamedLight.from_config(vlm, params.guidance)
    tables = [
        evaluate.backlit_table(heldout.held_out(project, "backlit"), enhancer, light, vlm),
        evaluate.well_lit_table(heldout.held_out(project, "well_lit"), enhancer),
        evaluate.pairs_table(heldout.pair_paths(project), enhancer, evaluate.well_lit_level(project)),
    ]
    figures = evaluate.figures(pd.concat([table for table in tables if len(table)], ignore_index=True))
    return float(figures[params.promotion.metric])


def describe(project: Path, version: registry.Version) -> dict[str, Any]:
    """What Dagster shows of a version: its number, keys, numbers and where to look at it."""
    address = f"{mlflow_store.ui_address(project)}/#/models/{registry.NAME}/versions/{version.number}"
    metadata: dict[str, Any] = {
        **version.metrics,
        "version": version.number,
        "dvc_md5": version.md5,
        "dataset_md5": version.dataset_md5 or "unknown",
        "aliases": ", ".join(version.aliases),
        "mlflow": dg.MetadataValue.url(address),
    }
    return metadata


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What a user can put right fails the step with that sentence alone."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
