"""The model's way into service: registered as challenger, promoted to champion when it is better."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.previews import markdown
from assets.project import CHALLENGER, CHAMPION, POOL
from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.evaluation.pictures import before_and_after
from cliplit.lineage import dvc, mlflow_store, registry
from cliplit.lineage.runs import PIPELINE_RUN
from cliplit.promotion import gates

WAITING = (
    "params.yaml says promotion.mode: manual, so the champion stays; materialize `champion` alone, or run "
    "`cliplit models promote`"
)
_GROUP = "models"
_OWNERS = ["team:cliplit"]


def model_assets(project: Path) -> list[dg.AssetsDefinition]:
    """challenger and champion, in the registry of ``project``."""

    @dg.asset(
        key=CHALLENGER,
        deps=["select", "evaluate", "report"],
        group_name=_GROUP,
        kinds={"mlflow"},
        owners=_OWNERS,
        pool=POOL,
        description="The judged model as a version in MLflow's registry, once for each DVC md5, alias `challenger`.",
    )
    def challenger(context) -> dg.MaterializeResult:  # Dagster refuses a postponed annotation here
        with _told(context):
            version = registry.register_challenger(project, before_and_after)
        return dg.MaterializeResult(data_version=dg.DataVersion(version.md5), metadata=describe(project, version))

    @dg.asset(
        key=CHAMPION,
        deps=[CHALLENGER],
        group_name=_GROUP,
        kinds={"mlflow"},
        owners=_OWNERS,
        pool=POOL,
        output_required=False,
        description="The model that serves, alias `champion`: the challenger, once it has passed every gate (its "
        "checks). With `promotion.mode: manual` in params.yaml it waits until somebody materializes this asset alone. "
        "The job `rollback` undoes a promotion.",
    )
    def champion(context) -> Iterator[dg.MaterializeResult]:
        with _told(context):
            if _waits(context, project):
                context.log.warning(WAITING)
                print(f"champion: {WAITING}", flush=True)
                return
            outcome = registry.promote(project, partial(gates.judge, project))
        reigning = outcome.version if outcome.promoted else outcome.champion_before
        if reigning is None:
            raise dg.Failure(f"no model reigns: {outcome.reason}", allow_retries=False)
        told = {"promoted": outcome.promoted, "reason": outcome.reason, "challenger": outcome.version.number}
        print(f"champion: version {reigning.number}; {outcome.reason}", flush=True)
        metadata = told | describe(project, reigning)
        yield dg.MaterializeResult(data_version=dg.DataVersion(reigning.md5), metadata=metadata)

    return [challenger, champion]


def describe(project: Path, version: registry.Version) -> dict[str, Any]:
    """What Dagster shows of a version: its number, keys, numbers and where to look at it."""
    address = mlflow_store.page(project, f"models/{registry.NAME}/versions/{version.number}")
    metadata: dict[str, Any] = {
        "version": version.number,
        "aliases": ", ".join(version.aliases),
        "mlflow": dg.MetadataValue.url(address),
        "dvc_md5": version.md5,
        "dataset_md5": version.dataset_md5 or "unknown",
        **version.metrics,
    }
    picture = before_and_after(project)
    if picture is not None and version.md5 == dvc.outputs_md5(project, registry.MODEL_STAGE):
        metadata["preview"] = markdown(picture)  # of this model; the pictures of others are gone
    return metadata


def _waits(context: dg.AssetExecutionContext, project: Path) -> bool:
    """Whether promotion is manual and this run was asked for more than the champion."""
    manual = load_params(project / "params.yaml").promotion.mode == "manual"
    return manual and context.run.asset_selection != {dg.AssetKey(CHAMPION)}


@contextmanager
def _told(context: dg.AssetExecutionContext) -> Iterator[None]:
    """MLflow hears which run this belongs to; what a user can put right fails the step with that sentence alone."""
    before = os.environ.get(PIPELINE_RUN)
    os.environ[PIPELINE_RUN] = context.run_id
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    finally:
        os.environ.pop(PIPELINE_RUN)
        if before is not None:
            os.environ[PIPELINE_RUN] = before
