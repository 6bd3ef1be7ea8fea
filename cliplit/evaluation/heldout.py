"""The held-out photos, and what a network makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.evaluation import metrics

DATASET = Path("artifacts/dataset")
PAIRS = Path("data/photos/pairs")


@dataclass(frozen=True)
class HeldOut:
    """Validation photos of one role: their names, and their pixels at the size that is measured."""

    names: list[str]
    images: list[np.ndarray]

    def enhanced(self, enhancer: Enhancer) -> list[np.ndarray]:
        """Every photo relit, in order."""
        return [enhancer.enhance(image) for image in self.images]


def manifest(project: Path) -> pd.DataFrame:
    """The dataset's manifest; raises UserError when curate has not run."""
    path = project / DATASET / "manifest.csv"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; run the stage curate first")
    return pd.read_csv(path)


def held_out(project: Path, role: str) -> HeldOut:
    """The validation photos of ``role`` ("backlit" or "well_lit"), sorted by name; raises UserError if none."""
    table = manifest(project)
    names = sorted(table[(table["role"] == role) & (table["split"] == "val")]["photo"])
    if not names:
        raise UserError(
            f"{project / DATASET / 'manifest.csv'}: no {role} photo is held out; import more photos, "
            "or raise curate.validation_fraction in params.yaml"
        )
    return HeldOut(names, [metrics.load(project / DATASET / "photos" / name) for name in names])


def pair_paths(project: Path) -> list[tuple[str, Path, Path]]:
    """Name, backlit photo and reference of every pair that curate did not reject, sorted by name."""
    backlit, reference = project / PAIRS / "backlit", project / PAIRS / "reference"
    if not (backlit.is_dir() and reference.is_dir()):
        return []
    shared = {path.name for path in backlit.iterdir()} & {path.name for path in reference.iterdir()}
    rejections = project / DATASET / "rejected.csv"
    rejected = set(pd.read_csv(rejections)["source"]) if rejections.is_file() else set()
    wrong = {Path(source).name for source in rejected if str(source).startswith("pairs/")}
    return [(name, backlit / name, reference / name) for name in sorted(shared - wrong) if not name.startswith(".")]
