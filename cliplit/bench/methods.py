"""What is compared: models, baselines, peers' outputs and upper bounds, each a function from a photo to a photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cliplit.bench import baselines
from cliplit.bench.fusion import exposure_fusion
from cliplit.bench.sets import Sample
from cliplit.enhancer import Enhancer
from cliplit.errors import PhotoError, UserError
from cliplit.evaluation import compare, metrics
from cliplit.photos.codecs import PHOTO_SUFFIXES

IDENTITY = "identity"
MODEL, BASELINE, PEER, BOUND = "model", "baseline", "peer", "upper bound"
Relight = Callable[[Sample, np.ndarray, np.ndarray | None], np.ndarray]


@dataclass(frozen=True)
class Method:
    """A row of the table: name, kind, and what makes the result of a photo, its pixels and its reference."""

    name: str
    kind: str
    relight: Relight

    def serves(self, sample: Sample) -> bool:
        """Upper bounds need a reference."""
        return self.kind != BOUND or sample.reference is not None


def methods(
    models: Sequence[tuple[str, Path]], outputs: Sequence[tuple[str, Path]], level: float, device: str
) -> list[Method]:
    """All methods, in the table's order; raises UserError for a model or folder that is not there, or a name twice."""
    rows = [Method(name, MODEL, _without_reference(Enhancer.load(path, device).enhance)) for name, path in models]
    rows += [Method(name, PEER, partial(_output, _folder(name, folder))) for name, folder in outputs]
    plain: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        IDENTITY: np.copy,
        f"gamma {compare.FIXED_GAMMA}": partial(compare.gamma, exponent=compare.FIXED_GAMMA),
        f"gamma to mean {level:.2f}": partial(compare.gamma_to_mean, target=level),
        "CLAHE": baselines.clahe,
        "exposure fusion": exposure_fusion,
    }
    rows += [Method(name, BASELINE, _without_reference(relight)) for name, relight in plain.items()]
    rows += [
        Method("best gamma", BOUND, _with_reference(baselines.best_gamma)),
        Method("best tone curve", BOUND, _with_reference(baselines.best_tone_curve)),
    ]
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two methods are called '{name}'; give one of them another NAME")
    return rows


def _without_reference(relight: Callable[[np.ndarray], np.ndarray]) -> Relight:
    return lambda sample, pixels, reference: relight(pixels)


def _with_reference(relight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Relight:
    def bound(sample: Sample, pixels: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
        if reference is None:
            raise ValueError("an upper bound needs the reference")
        return relight(pixels, reference)

    return bound


def _folder(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; --outputs {name}=DIR takes one with a peer's results")
    return folder


def _output(folder: Path, sample: Sample, pixels: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    """A peer's result for ``sample``: FOLDER/SET/PHOTO where FOLDER has that set, else FOLDER/PHOTO; any format."""
    root = folder / sample.set if (folder / sample.set).is_dir() else folder
    wanted = root / sample.photo
    candidates = [wanted, *(wanted.with_suffix(suffix) for suffix in sorted(PHOTO_SUFFIXES))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise PhotoError(wanted, "there is no such output; this photo is left out of the peer's row")
    result = metrics.load(found)
    if result.shape != pixels.shape:
        raise PhotoError(found, f"differs in shape from {sample.name}; an output must be as large as its photo")
    return result
