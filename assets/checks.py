"""What must hold before anything downstream may start; each check blocks it otherwise."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

from assets.project import POOL, stage_key
from cliplit.lineage import dvc, graph


def stage_checks(project: Path, found: tuple[graph.Stage, ...]) -> list[dg.AssetChecksDefinition]:
    """The checks of all stages: bytes for each, the loss where there are plots, the dataset after curate."""
    checks = [_bytes_check(project, stage) for stage in found]
    checks += [_loss_check(project, stage) for stage in found if stage.plots]
    checks += [_dataset_check(project, stage) for stage in found if stage.family == "curate"]
    return checks


def _bytes_check(project: Path, stage: graph.Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=stage_key(stage),
        name="bytes_match_dvc_lock",
        description="Every output, read and hashed anew, has the md5 in dvc.lock; DVC itself does not look.",
        blocking=True,
        pool=POOL,
    )
    def check() -> dg.AssetCheckResult:
        faults = dvc.verify_bytes(project, stage.name)
        return _result(faults, {"outputs": len(dvc.locked_outs(project, stage.name))})

    return check


def _loss_check(project: Path, stage: graph.Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=stage_key(stage),
        name="loss_is_finite",
        description="No number of the training curves is infinite or not a number.",
        blocking=True,
        pool=POOL,
    )
    def check() -> dg.AssetCheckResult:
        faults = [fault for path in stage.plots for fault in curve_faults(project / path)]
        return _result(faults, {"curves": list(stage.plots)})

    return check


def _dataset_check(project: Path, stage: graph.Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=stage_key(stage),
        name="dataset_is_sane",
        description="Both roles stand in both splits, every photo is there, and no scene stands in both splits.",
        blocking=True,
        pool=POOL,
    )
    def check() -> dg.AssetCheckResult:
        manifest = project / stage.outs[0] / "manifest.csv"
        if not manifest.exists():
            return _result([f"{stage.outs[0]}/manifest.csv: it is missing; materialize {stage.name} again"], {})
        table = pd.read_csv(manifest)
        missing = sorted({"photo", "role", "split", "scene"} - set(table.columns))
        if missing:
            return _result([f"{stage.outs[0]}/manifest.csv: it has no column {', '.join(missing)}"], {})
        counts = {f"{role} {split}": len(part) for (role, split), part in table.groupby(["role", "split"])}
        return _result(dataset_faults(table, manifest.parent / "photos"), counts)

    return check


def dataset_faults(manifest: pd.DataFrame, photos: Path) -> list[str]:
    """Sentences about what is wrong with a dataset, none when it is fit to train on."""
    faults = []
    for role in ("backlit", "well_lit"):
        for split in ("train", "val"):
            if not ((manifest["role"] == role) & (manifest["split"] == split)).any():
                faults.append(f"there is no {role} photo in the split '{split}'; import more photos")
    splits = manifest.groupby("scene")["split"].nunique()
    faults += [f"scene {scene} stands in train and in val" for scene in splits[splits > 1].index]
    doubled = manifest["photo"][manifest["photo"].duplicated()]
    faults += [f"photo {photo} stands in the manifest twice" for photo in doubled]
    faults += [f"photo {photo} is missing" for photo in manifest["photo"] if not (photos / photo).is_file()]
    return faults


def curve_faults(path: Path) -> list[str]:
    """Sentences about numbers in a curve (CSV with a column ``step``) that are not finite."""
    if not path.exists():
        return [f"{path.name}: it is missing"]
    table = pd.read_csv(path)
    if table.empty:
        return [f"{path.name}: it has no steps"]
    faults = []
    for column in table.select_dtypes("number"):
        values = table[column] if column == "loss" else table[column].dropna()  # other columns may have gaps
        bad = values.index[~np.isfinite(values)]
        if len(bad):
            step = table["step"][bad[0]] if "step" in table else bad[0]
            faults.append(f"{path.name}: '{column}' is not finite from step {step} on; lower the learning rate")
    if "loss" in table and not pd.api.types.is_numeric_dtype(table["loss"]):
        faults.append(f"{path.name}: the column 'loss' holds something that is not a number")
    return faults


def _result(faults: list[str], metadata: dict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not faults,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(faults[:5]) or "as it should be",
        metadata=metadata,
    )
