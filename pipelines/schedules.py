"""Retraining by the calendar, whether or not enough photos have arrived; off until it is switched on in the UI."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cliplit.errors import ConfigError
from cliplit.lineage import graph
from pipelines.jobs import ingest_and_retrain


def weekly(project: Path) -> dg.ScheduleDefinition:
    """The schedule of params.yaml's ``retrain.schedule`` (cron, UTC); raises ConfigError when it is none."""
    cron = (graph.read_yaml(project / "params.yaml").get("retrain") or {}).get("schedule")
    try:
        return dg.ScheduleDefinition(
            name="weekly",
            job=ingest_and_retrain,
            cron_schedule=cron,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Takes in what has arrived and trains on it, be it little; DVC does nothing where nothing is "
            "new. When: params.yaml's retrain.schedule, in UTC.",
        )
    except (dg.DagsterInvalidDefinitionError, dg.DagsterInvariantViolationError, dg.DagsterError, ValueError):
        raise ConfigError(
            f"params.yaml: key 'retrain.schedule' is {cron!r}, which is no cron schedule; write one like \"0 3 * * 0\""
        ) from None
