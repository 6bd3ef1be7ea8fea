"""Any model on the held-out photos of today, photo by photo, as the stage evaluate measures; kept in work/measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

import cliplit
from cliplit.config import Params
from cliplit.enhancer import Enhancer
from cliplit.evaluation import evaluate
from cliplit.evaluation.heldout import DATASET, PAIRS, manifest
from cliplit.files import write_text
from cliplit.lineage.digests import path_md5
from cliplit.networks import build_network

_CODE = ("enhancer.py", "evaluation", "guidance", "networks", "photos")
_KEPT = 20


class _Unchanged(Enhancer):
    """Gives back every photo as it was taken."""

    def enhance(self, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
        return pixels.copy()


def per_photo(params: Params, project: Path, weights: Path | None) -> pd.DataFrame:
    """The table of evaluate.measure for a weights file; None stands for the photos as they were taken.

    The same weights on the same photos, under the same guidance and code, are measured once. Raises UserError where
    there is no dataset.
    """
    manifest(project)  # says what is missing
    path = project / "work" / "measured" / f"{_key(params, project, weights)}.csv"
    if not path.is_file():
        enhancer = Enhancer.load(weights, params.device) if weights else _Unchanged(build_network(params.network))
        table = evaluate.measure(params, project, enhancer)
        write_text(path, table.to_csv(index=False))
        for old in sorted(path.parent.glob("*.csv"), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return pd.read_csv(path, dtype={"photo": str}, float_precision="round_trip")


def _key(params: Params, project: Path, weights: Path | None) -> str:
    """A hash of all that the figures depend on."""
    package = Path(cliplit.__file__).parent
    inputs = [weights, project / DATASET, project / PAIRS, *(package / name for name in _CODE)]
    parts = [path_md5(path) if path and path.exists() else "none" for path in inputs]
    settings = json.dumps(asdict(params.guidance), sort_keys=True)
    return hashlib.sha256("\n".join([settings, *parts]).encode()).hexdigest()[:24]
