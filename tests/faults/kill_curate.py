"""Curate is killed everywhere: prints {kills, held, faults} for the folder it is given.

A process of its own: what is forked must have no threads, and needs every import once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from killing import in_fork, kill_everywhere
from PIL import Image

from cliplit.lineage.digests import folder_md5
from cliplit.photos import curate as _imported_once  # noqa: F401
from cliplit.stages import run_stage

os.environ["CLIPLIT_TRACKING"] = "off"
ROOT = Path(__file__).parents[2]


def photos(folder: Path, seed: int) -> None:
    """Six backlit and six well-lit photos, as small as curate takes them."""
    for role, low, high in (("backlit", 5, 70), ("well_lit", 90, 230)):
        for number in range(6):
            rng = np.random.default_rng([number, low])
            pixels = rng.uniform(low, high, (4, 5, 3)).repeat(9, 0).repeat(9, 1).astype(np.uint8)
            path = folder / "data" / "photos" / role / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["curate"] |= {"long_side": 64, "validation_fraction": 0.4}
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"seed": seed}))


def curate(work: Path) -> dict[str, Any]:
    """Curate killed at every file boundary leaves the dataset before, none, or the new one; run again, the new one."""
    for name, seed in (("old", 1), ("new", 2)):
        photos(work / name, seed)
        assert in_fork(lambda name=name: run_stage("curate", None, work / name)) == "done"
    old, new = (folder_md5(work / name / "artifacts/dataset") for name in ("old", "new"))
    assert old != new

    def prepare() -> Path:
        shutil.rmtree(work / "killed", ignore_errors=True)
        shutil.copytree(work / "old", work / "killed")
        shutil.copy(work / "new" / "params.yaml", work / "killed" / "params.yaml")
        return work / "killed"

    def check(folder: Path) -> None:
        dataset = folder / "artifacts" / "dataset"
        assert not dataset.exists() or folder_md5(dataset) in (old, new), "half a dataset"
        run_stage("curate", None, folder)
        assert folder_md5(dataset) == new
        assert not (folder / "work/curate/staging").exists(), "leftovers"

    return kill_everywhere(prepare, lambda folder: run_stage("curate", None, folder), check)


if __name__ == "__main__":
    print("\n" + json.dumps(curate(Path(sys.argv[1]).resolve())))
