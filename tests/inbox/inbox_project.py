"""A project with an inbox, photos to drop into it, and what lies where afterwards."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from cliplit.inbox.ingest import Ingested, ingest
from cliplit.photos.codecs import save_jpeg
from cliplit.photos.demo import render_photo

ROOT = Path(__file__).parents[2]


class InboxProject:
    """A folder with the real params.yaml and dvc.yaml, a few demo photos, and an inbox that settles at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(self, dotted: str, value: object) -> None:
        """Change one value of params.yaml."""
        file = self.path / "params.yaml"
        params = yaml.safe_load(file.read_text())
        *parents, last = dotted.split(".")
        inner: Any = params
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def drop(self, where: str, role: str = "backlit", seed: int = 900, index: int = 0) -> Path:
        """A rendered photo of ``role`` as file ``where`` of the inbox (``where`` is "backlit/a.jpg")."""
        path = self.path / "data" / "inbox" / where
        path.parent.mkdir(parents=True, exist_ok=True)
        save_jpeg(path, render(role, seed, index))
        return path

    def ingest(self) -> Ingested:
        """Take in what is there."""
        return ingest(self.path)

    def photos(self, role: str) -> set[str]:
        """Names in data/photos/<role>, demo photos left out."""
        found = (self.path / "data" / "photos" / role).iterdir()
        return {path.name for path in found if not path.name.startswith("demo_")}

    def inbox(self) -> set[str]:
        """Files of the inbox, those in done/ included."""
        root = self.path / "data" / "inbox"
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def contents(self) -> set[str]:
        """The hash of every file in data/, so that a lost photo is noticed."""
        return {sha256(path) for path in (self.path / "data").rglob("*") if path.is_file()}


_rendered: dict[tuple[str, int, int], np.ndarray] = {}


def render(role: str, seed: int, index: int) -> np.ndarray:
    """A demo photo, rendered once."""
    if (role, seed, index) not in _rendered:
        _rendered[(role, seed, index)] = render_photo(role, seed, index)[::2, ::2].copy()
    return _rendered[(role, seed, index)]


def cheap(role: str, seed: int, index: int) -> np.ndarray:
    """A smooth picture, 96x128, drawn in a millisecond: dark with a bright sky, or bright all over."""
    rng = np.random.default_rng([seed, index, len(role)])
    low, high = (5, 60) if role == "backlit" else (70, 230)
    coarse = rng.uniform(low, high, (6, 8, 3))
    if role == "backlit":
        coarse[:2] = rng.uniform(170, 250, 3)
    smooth = np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((128, 96), Image.Resampling.BICUBIC))
    return (smooth + rng.normal(0, 2, smooth.shape)).clip(0, 255).astype(np.uint8)


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def create(path: Path, dvc: bool = False) -> InboxProject:
    """A project at ``path``; with ``dvc`` a repository of DVC and git."""
    path.mkdir()
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, path / name)
    for role in ("backlit", "well_lit"):
        for index in range(2):
            save_jpeg(path / "data" / "photos" / role / f"demo_{role}_{index:03d}.jpg", render(role, 0, index))
    (path / "data" / "champion").mkdir()
    project = InboxProject(path)
    project.set("inbox.settle_seconds", 0)
    project.set("device", "cpu")
    if dvc:
        (path / ".dvc").mkdir()
        for name in ("config", ".gitignore"):
            shutil.copyfile(ROOT / ".dvc" / name, path / ".dvc" / name)
        subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    return project


def by_outcome(result: Ingested) -> dict[str, set[str]]:
    """Sources of the batch by what became of them."""
    found: dict[str, set[str]] = {}
    for one in result.batch.outcomes:
        found.setdefault(one.outcome, set()).add(one.source)
    return found


def names(paths: Iterable[Path]) -> set[str]:
    """Their names."""
    return {path.name for path in paths}
