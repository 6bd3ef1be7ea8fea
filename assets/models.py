"""The model's way into service: registered as challenger, promoted to champion when it is better."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.project import POOL
from cliplit.errors import UserError
from cliplit.lineage import mlflow_store, registry
from cliplit.lineage.runs import PIPELINE_RUN
from cliplit.promotion import gates

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
    def challenger(context) -> dg.MaterializeResult:  # Dagster refuses a postponed annotation here
        with _told(context):
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
    def champion(context) -> dg.MaterializeResult:
        with _told(context):
            outcome = registry.promote(project, partial(gates.judge, project))
        reigning = outcome.version if outcome.promoted else outcome.champion_before or outcome.version
        told = {"promoted": outcome.promoted, "reason": outcome.reason, "challenger": outcome.version.number}
        print(f"champion: version {reigning.number}; {outcome.reason}", flush=True)
        metadata = told | describe(project, reigning)
        return dg.MaterializeResult(data_version=dg.DataVersion(reigning.md5), metadata=metadata)

    return [challenger, champion]


def describe(project: Path, version: registry.Version) -> dict[str, Any]:
    """What Dagster shows of a version: its number, keys, numbers and where to look at it."""
    address = f"{mlflow_store.ui_address(project)}/#/models/{registry.NAME}/versions/{version.number}"
    metadata: dict[str, Any] = {
        "version": version.number,
        "aliases": ", ".join(version.aliases),
        "mlflow": dg.MetadataValue.url(address),
        "dvc_md5": version.md5,
        "dataset_md5": version.dataset_md5 or "unknown",
        **version.metrics,
    }
    return metadata


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
