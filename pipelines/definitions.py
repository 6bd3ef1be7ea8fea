"""Everything Dagster shows and runs; the graph itself is read from dvc.yaml."""

from __future__ import annotations

import dagster as dg

from assets.checks import stage_checks
from assets.gates import gate_checks
from assets.incoming import drift_checks, incoming_asset
from assets.models import model_assets
from assets.project import project_folder
from assets.sources import source_assets
from assets.stages import stage_assets
from cliplit.lineage import graph
from pipelines.inbox import inbox_sensor
from pipelines.jobs import JOBS
from pipelines.publish import publish, publish_after_training
from pipelines.rollback import rollback_job
from pipelines.schedules import weekly


def build() -> dg.Definitions:
    """The definitions of the project folder (see assets.project.project_folder)."""
    project = project_folder()
    found = graph.stages(project)
    return dg.Definitions(
        assets=[
            incoming_asset(project),
            *source_assets(project, found),
            *stage_assets(project, found),
            *model_assets(project),
        ],
        asset_checks=[*drift_checks(project), *stage_checks(project, found), *gate_checks(project)],
        jobs=[*JOBS, rollback_job(project), publish],
        sensors=[inbox_sensor(project), publish_after_training],
        schedules=[weekly(project)],
        # Stages run in processes of their own anyway, one at a time.
        executor=dg.in_process_executor,
    )


defs = build()
