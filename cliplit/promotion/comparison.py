"""Two registered versions side by side on the photos of today."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.evaluation.compare import Interval
from cliplit.lineage import registry
from cliplit.lineage.aliases import Version
from cliplit.promotion import gain, measure

AS_TAKEN = "input"  # stands for the photos as they were taken
_FIGURES = (
    "score",
    "value_gain",
    "light_after",
    "structure",
    "level_after",
    "clipped_high_after",
    "clipped_low_after",
    "harm_psnr_db",
    "pairs_psnr_ours",
    "pairs_ssim_ours",
)


@dataclass(frozen=True)
class Row:
    """One figure of both sides, and the first minus the second over the same photos; each with its 95 % interval."""

    figure: str
    first: Interval
    second: Interval
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """None stands for the photos as they were taken."""

    first: Version | None
    second: Version | None
    rows: tuple[Row, ...]


def compare(project: Path, first: str, second: str) -> Comparison:
    """Measure two versions, each an alias, a number or "input"; raises UserError where one is missing."""
    params = load_params(project / "params.yaml")
    versions = [None if name == AS_TAKEN else registry.find(project, name) for name in (first, second)]
    ours, theirs = (measure.per_photo(params, project, _weights(project, version)) for version in versions)
    names = [name for name in dict.fromkeys((params.promotion.metric, *_FIGURES)) if _measured(ours, name)]
    rows = (
        Row(name, gain.level(ours, name), gain.level(theirs, name), gain.gain(ours, theirs, name)) for name in names
    )
    return Comparison(versions[0], versions[1], tuple(rows))


def _weights(project: Path, version: Version | None) -> Path | None:
    return None if version is None else registry.alias_file(project, str(version.number))


def _measured(table: pd.DataFrame, name: str) -> bool:
    try:
        gain.values(table, name)
    except UserError:
        return False
    return True
