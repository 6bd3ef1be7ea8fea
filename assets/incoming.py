"""New photos from the inbox: what came in and why, and whether it is like what training has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from PIL import Image

from assets.previews import grid_preview, markdown
from assets.project import INCOMING, POOL
from cliplit.errors import UserError
from cliplit.inbox.ingest import Ingested, ingest
from cliplit.inbox.journal import Batch, Journal, Outcome
from cliplit.photos.codecs import read_photo

_ROWS = 300  # of the table; the journal holds all
_COLUMNS = ("photo", "outcome", "role", "why", "from", "sha256")
_SCHEMA = dg.TableSchema(columns=[dg.TableColumn(name) for name in _COLUMNS])


def incoming_asset(project: Path) -> dg.AssetsDefinition:
    """The asset that takes in the inbox of ``project``."""

    @dg.asset(
        key=INCOMING,
        group_name="photos",
        kinds={"fsspec", "dvc"},
        owners=["team:cliplit"],
        pool=POOL,
        description="Photos that arrived in the inbox (params.yaml: inbox.path): sorted by the lighting prior where "
        "nobody did, without those that are known, and under DVC in `data/photos`. What needs a person lies in "
        "`data/review`. `cliplit photos ingest` does the same without Dagster.",
    )
    def incoming(context) -> dg.MaterializeResult:  # Dagster refuses a postponed annotation here
        try:
            result = ingest(project)
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        print(f"incoming: {result.sentence()}", flush=True)
        for note in result.notes:
            context.log.info(note)
        return dg.MaterializeResult(data_version=_version(result.batch), metadata=describe(project, result))

    return incoming


def describe(project: Path, result: Ingested) -> dict[str, Any]:
    """What Dagster shows of one ingest: what came in and why, as a table, with pictures and the dataset's version."""
    batch = result.batch
    metadata: dict[str, Any] = {
        "added": len(batch.added),
        "table": dg.MetadataValue.table([_record(one) for one in batch.outcomes[:_ROWS]], schema=_SCHEMA),
        "summary": result.sentence(),
        "waiting": result.waiting,
        "dataset_version": dg.MetadataValue.json(batch.versions),
        "batch": batch.number,
    }
    if result.notes:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in result.notes))
    added = [project / str(one.to) for one in batch.added]
    preview = grid_preview(added[:: max(1, len(added) // 8)][:8])
    if preview:
        metadata["preview"] = preview
    if result.sheet is not None:
        metadata["review"] = markdown(Image.fromarray(read_photo(result.sheet).pixels))
    return metadata


def drift_checks(project: Path) -> list[dg.AssetChecksDefinition]:
    """Warnings about the newest photos that came in; they hold nothing back, but are there before training starts."""
    return [
        _drift_check(project, "exposure_is_like_the_training_set", "exposure", "brightness histogram"),
        _drift_check(project, "content_is_like_the_training_set", "features", "distance to the nearest old photos"),
    ]


def _drift_check(project: Path, name: str, kind: str, what: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=INCOMING,
        name=name,
        description=f"Warns where the {what} of the newest incoming photos is not what as many photos of the training "
        "set would have. A warning never stops the training.",
        blocking=True,  # what follows waits for the warning; of severity WARN, it does not stop it
        pool=POOL,
    )
    def check() -> dg.AssetCheckResult:
        from cliplit.inbox import drift, drift_picture  # torch takes seconds to import

        batch = Journal(project).last()
        try:
            found = drift.compare_batch(project, batch) if batch is not None else []
        except Exception as error:  # a comparison that fails is a warning too: it must not cost the training
            told = drift.NOT_COMPARED.format(error)
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=told)
        draw: Callable[..., Image.Image] = getattr(drift_picture, f"{kind}_picture")
        return _verdict([getattr(one, kind) for one in found], draw(found) if found else None)

    return check


def _verdict(found: list[Any], picture: Image.Image | None) -> dg.AssetCheckResult:
    unlike = [one for one in found if one.drifted]
    told = [one.sentence for one in unlike]
    metadata: dict[str, Any] = {f"{one.role}_distance": float(one.distance) for one in found}
    metadata |= {f"{one.role}_threshold": float(one.threshold) for one in found}
    if picture is not None:
        metadata["picture"] = markdown(picture)
    return dg.AssetCheckResult(
        passed=not unlike,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(told) or ("like the training set" if found else "too few photos to compare"),
        metadata=metadata,
    )


def _record(one: Outcome) -> dg.TableRecord:
    values = (one.to or one.source, one.outcome, one.role or "", one.why, one.source, one.sha256[:12])
    return dg.TableRecord(dict(zip(_COLUMNS, values, strict=True)))


def _version(batch: Batch) -> dg.DataVersion:
    """The DVC version of the photos; where there is no DVC, the batch's number."""
    versions = [f"{role}:{md5}" for role, md5 in sorted(batch.versions.items())]
    return dg.DataVersion("+".join(versions) or f"batch-{batch.number}")
