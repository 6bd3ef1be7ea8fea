"""Sharing a finished run with the team: a job to start by hand, and a sensor that is off until somebody wants it.

Dagster reads the annotations of ops, so none is postponed here.
"""

import os

import dagster as dg
from pydantic import Field

from assets.project import POOL, project_folder
from cliplit.errors import UserError
from cliplit.lineage import remote
from pipelines.jobs import train

#: The git remote that publications after a training are pushed to; unset: they are committed and not pushed.
GIT_REMOTE = "CLIPLIT_GIT_REMOTE"


class PublishConfig(dg.Config):
    """Where to: both may stay empty."""

    dvc_remote: str = Field("", description="A remote of .dvc/config; empty: the default one.")
    git_remote: str = Field("", description="A git remote, as origin; empty: commit and do not push.")


@dg.op(
    pool=POOL,
    description="Pushes bytes to the DVC remote, commits dvc.lock and the pointers of photos and champion, and pushes "
    "the commit where a git remote is named. Refuses when git holds other changes.",
)
def publish_results(context: dg.OpExecutionContext, config: PublishConfig) -> None:
    try:
        done = remote.publish(project_folder(), config.dvc_remote or None, config.git_remote or None)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    told = {"dvc": done.dvc_said, "commit": done.commit or "nothing new", "files": ", ".join(done.files)}
    context.add_output_metadata(told | {"git_remote": done.git_remote or "not pushed"})
    print(f"publish: {done.dvc_said}; commit {done.commit or 'not needed'}", flush=True)


@dg.job(description="Shares the last run: its bytes by the DVC remote, what names them by git. Nothing starts it.")
def publish() -> None:
    publish_results()


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[train],
    request_job=publish,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Publishes after every training that succeeded; off until it is switched on here.",
)
def publish_after_training(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    config = {"ops": {publish_results.name: {"config": {"git_remote": os.environ.get(GIT_REMOTE, "")}}}}
    return dg.RunRequest(run_key=context.dagster_run.run_id, run_config=config)
