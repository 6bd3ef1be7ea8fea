"""Which project folder the definitions describe, and the names its stages and photos go by in Dagster."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import dagster as dg

from cliplit.lineage import graph

INCOMING = "incoming"  # the asset that puts photos from the inbox into data/photos
CHALLENGER, CHAMPION = "challenger", "champion"  # the assets after the graph of dvc.yaml
POOL = "dvc"  # one stage at a time: they share one working folder


def project_folder() -> Path:
    """CLIPLIT_PROJECT, or the current folder: where dvc.yaml, params.yaml, data/ and artifacts/ are."""
    return Path(os.environ.get("CLIPLIT_PROJECT") or ".").resolve()


def stage_key(stage: graph.Stage) -> dg.AssetKey:
    """curate -> curate; prompts-0 -> prompts_0; prompts@2 -> prompts_2."""
    # One part, since Dagster's lineage prints only the last part of a key: of prompts/2, a bare 2.
    return dg.AssetKey(stage.family if stage.round is None else f"{stage.family}_{stage.round}")


def source_key(path: str) -> dg.AssetKey:
    """data/photos/backlit -> photos/backlit."""
    return dg.AssetKey(list(PurePosixPath(path).parts[1:]))
