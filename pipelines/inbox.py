"""The sensor that starts ingest and training once enough photos have arrived; off until switched on in the UI."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cliplit.errors import UserError
from cliplit.inbox.arrivals import Arrivals, arrivals
from pipelines.jobs import ingest_and_retrain

_ATTEMPTS = 3  # runs for the same photos, where one after the other failed before it had curated them
_PHOTOS = "cliplit.inbox"
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def inbox_sensor(project: Path) -> dg.SensorDefinition:
    """The sensor over ``project``'s inbox."""

    @dg.sensor(
        name="inbox",
        job=ingest_and_retrain,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Starts ingest and training when params.yaml's retrain.min_new_photos new photos have arrived in "
        "the inbox, by their content, and nobody writes to them any more.",
    )
    def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            found = arrivals(project)
        except UserError as error:
            return dg.SkipReason(str(error))
        return request(found, context.instance, context.cursor)

    return inbox


def request(found: Arrivals, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    """A run for these photos unless there are too few, one is under way, or earlier ones for them were in vain.

    The run key is a function of the photos alone: a request that was lost with the daemon is made again, and one that
    was launched is not launched twice. The cursor only says what was asked for last.
    """
    if not found.enough:
        return dg.SkipReason(found.sentence())
    job = ingest_and_retrain.name
    if instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=_UNDER_WAY)):
        return dg.SkipReason(f"{found.sentence()}; a run of {job} is under way and takes them, or the next one does")
    earlier = instance.get_runs(dg.RunsFilter(job_name=job, tags={_PHOTOS: found.run_key}))
    failed = sum(run.status == dg.DagsterRunStatus.FAILURE for run in earlier)
    if failed < len(earlier) or failed >= _ATTEMPTS:
        ended = "failed" if failed == len(earlier) else "ended without taking them in"
        return dg.SkipReason(
            f"{found.sentence()}; run {earlier[0].run_id[:8]} for these photos {ended}; see why, and re-execute it"
        )
    key = found.run_key if not failed else f"{found.run_key}-{failed}"
    tags = {_PHOTOS: found.run_key, "cliplit.new_photos": str(len(found.new))}
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, tags=tags)], cursor=key)
