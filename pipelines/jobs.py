"""The jobs: all of it, the judgement alone, and a look at the photo folders."""

from __future__ import annotations

import dagster as dg

from assets.project import INCOMING

_INCOMING = dg.AssetSelection.assets(INCOMING)

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.all() - _INCOMING - dg.AssetSelection.checks_for_assets(INCOMING),
    description="From the photos to a judged model, promoted if it is better. What is up to date is not run again.",
)
judge = dg.define_asset_job(
    "judge",
    selection=dg.AssetSelection.groups("judgement", "models"),
    description="Chooses, measures and reports the trained rounds again, and offers the result for promotion.",
)
ingest_and_retrain = dg.define_asset_job(
    "ingest_and_retrain",
    selection=dg.AssetSelection.all(),
    description="Takes in what has arrived in the inbox, and trains, judges and promotes with it.",
)
observe = dg.define_asset_job(
    "observe",
    selection='key:"photos/*"',
    description="Looks at the photo folders, so that Dagster shows what was added since the last training.",
)

JOBS = [train, judge, ingest_and_retrain, observe]
