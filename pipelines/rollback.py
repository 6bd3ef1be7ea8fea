"""The job `rollback`: the champion before serves again, at the push of a button."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from assets.models import describe
from assets.project import CHAMPION
from cliplit.errors import UserError
from cliplit.lineage import registry


def rollback_job(project: Path) -> dg.JobDefinition:
    """Swaps champion and previous in the registry of ``project``; running it once more undoes that."""

    @dg.op(description="Checks the bytes of the previous champion, restores lost ones, and moves both aliases.")
    def bring_previous_back(context) -> None:
        try:
            done = registry.rollback(project)
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info(f"Version {done.version.number} is the champion again, in {done.seconds:.2f} s of work.")
        metadata = {"reason": f"version {done.deposed.number} was rolled back", "seconds": done.seconds}
        context.log_event(
            dg.AssetMaterialization(
                asset_key=CHAMPION,
                metadata=metadata | describe(project, done.version),
                tags={"dagster/data_version": done.version.md5},
            )
        )

    @dg.job(name="rollback", description="Brings the previous champion back; run once more, it undoes that.")
    def job() -> None:
        bring_previous_back()

    return job
