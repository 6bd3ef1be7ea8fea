"""``cliplit bench quality``: every method on every photo of every set, and all that was measured, as one table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cliplit.bench import learned, measures, niqe
from cliplit.bench.methods import MODEL, Method, methods
from cliplit.bench.sets import MILD, WELL_LIT, Repeat, Sample, collect, hashed, repeats
from cliplit.errors import PhotoError, UserError
from cliplit.evaluation import metrics

DEFAULT_LEVEL = 0.5
SEEN = 0.05  # smaller faults are not listed
UNSEEN_DB = 0.1  # a loss of less does not make a photo worse


@dataclass(frozen=True)
class Inputs:
    """What the user named: test sets, models, peers' outputs."""

    pairs: Path | None = None
    unpaired: tuple[tuple[str, Path], ...] = ()
    well_lit: Path | None = None
    models: tuple[tuple[str, Path], ...] = ()
    outputs: tuple[tuple[str, Path], ...] = ()
    device: str = "auto"
    mild: bool = False


@dataclass
class Bench:
    """All that was measured: a row for each photo and method, repeated photos, what failed, what was left out."""

    rows: pd.DataFrame
    methods: list[Method]
    samples: list[Sample]
    repeats: list[Repeat]
    weights: dict[str, str]
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measure(inputs: Inputs, quiet: bool = True) -> Bench:
    """Measure every method on every photo; one that fails costs its own rows only.

    Raises UserError when a folder or model is not there, or no photo at all could be measured.
    """
    samples = collect(inputs.pairs, inputs.unpaired, inputs.well_lit, inputs.mild)
    pristine, level, notes = _well_lit(samples, quiet)
    compared = methods(inputs.models, inputs.outputs, level, inputs.device)
    extra, missing = learned.available()
    rows: list[dict[str, object]] = []
    failures: list[str] = []
    hashes: dict[str, int] = {}
    for sample in tqdm(samples, desc="measuring", unit="photo", disable=quiet):
        try:
            pixels, reference = sample.load()
        except PhotoError as error:
            failures.append(f"{sample.name}: {error.reason}")
            continue
        if sample.set != MILD:  # which repeats the well-lit photos on purpose
            hashes[sample.name] = hashed(pixels)
        for method in compared:
            if not method.serves(sample):
                continue
            try:
                after = method.relight(sample, pixels, reference)
            except PhotoError as error:
                failures.append(f"{method.name}, {sample.name}: {error.reason}")
                continue
            row = _row(sample, method, pixels, after, reference, pristine)
            for metric in extra:
                if reference is not None or not metric.paired:
                    row[metric.name] = metric.measure(after, reference)
            rows.append(row)
    if not rows:
        raise UserError(f"no photo could be measured; the first reason: {failures[0]}")
    weights = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.models}
    found = repeats(samples, hashes)
    return Bench(pd.DataFrame(rows), compared, samples, found, weights, failures, notes + missing)


def faults(row: pd.Series) -> dict[str, float]:
    """What is wrong with a result, each 0 at the limit that we hold ourselves to and 1 where it is clearly seen.

    noise: doublings of the noise in dark regions beyond 2; clipping: 5 % of the photo beyond 1.5 times the input's;
    hue: doublings beyond 2 degrees; dark: a mean level .1 below .35; white: .1 above .65; far: 3 dB below 19 dB of
    the reference; worse: 3 dB below what the input had; harm: 3 dB below the 30 dB that a well-lit photo keeps.
    """
    well_lit = row["set"] == WELL_LIT
    sizes = {
        "noise": _doublings(row["noise_gain"], 2),
        "clipping": (row["clipped_high"] - 1.5 * row["clipped_high_input"]) / 0.05,
        "hue": _doublings(row["hue_error"], 2),
        "dark": 0.0 if well_lit else (0.35 - row["level"]) / 0.1,
        "white": 0.0 if well_lit else (row["level"] - 0.65) / 0.1,
        "far": (19 - row["psnr"]) / 3,
        "worse": -row["psnr_gain"] / 3,
        "harm": (30 - row["harm"]) / 3,
    }
    return {name: round(min(float(size), 5.0), 3) for name, size in sizes.items() if size >= SEEN}


def worst(bench: Bench, count: int) -> list[tuple[pd.Series, dict[str, float]]]:
    """The ``count`` worst results of the first model (else of the first method) over all sets, with their faults."""
    rows = bench.rows[bench.rows["method"] == judged_method(bench)]
    judged = [(row, faults(row)) for _, row in rows.iterrows()]
    judged.sort(key=lambda item: (-sum(item[1].values()), _fidelity(item[0]), item[0]["set"], item[0]["photo"]))
    return judged[:count]


def _fidelity(row: pd.Series) -> float:
    """dB to the reference, or of a well-lit photo to itself: what orders photos of equal faults."""
    return min((float(row[name]) for name in ("psnr", "harm") if pd.notna(row[name])), default=metrics.IDENTICAL_DB)


def judged_method(bench: Bench) -> str:
    """Whose faults are listed: the first model's, else those of the first method that has results."""
    models = [method.name for method in bench.methods if method.kind == MODEL]
    return [*models, str(bench.rows["method"].iloc[0])][0]


def _doublings(value: float, limit: float) -> float:
    return float(np.log2(value / limit)) if value > 0 else 0.0


def _well_lit(samples: Sequence[Sample], quiet: bool) -> tuple[niqe.Pristine | None, float, list[str]]:
    """The Gaussian of the well-lit photos, their mean level, and what to say where one of them is missing."""
    photos = []
    for sample in tqdm([each for each in samples if each.set == WELL_LIT], desc="fitting NIQE", disable=quiet):
        try:
            photos.append(sample.load()[0])
        except PhotoError:
            continue  # measuring names it
    if not photos:
        reason = "NIQE is left out, and 'gamma to mean' aims at 0.50: both learn from the photos of --well-lit"
        return None, DEFAULT_LEVEL, [reason]
    level = float(np.mean([metrics.mean_level(pixels) for pixels in photos]))
    pristine = niqe.fit(photos)
    if pristine is None:
        return None, level, [f"NIQE is left out: the well-lit photos have under {niqe.LEAST_PATCHES} sharp patches"]
    return pristine, level, [f"NIQE is fitted on {pristine.patches} sharp patches of {len(photos)} well-lit photos"]


def _row(
    sample: Sample,
    method: Method,
    before: np.ndarray,
    after: np.ndarray,
    reference: np.ndarray | None,
    pristine: niqe.Pristine | None,
) -> dict[str, object]:
    """All figures of one result; None where a figure does not apply to the set or the photo."""
    well_lit = sample.set == WELL_LIT
    psnr = None if reference is None else metrics.psnr(after, reference)
    gain = None if reference is None or psnr is None else psnr - metrics.psnr(before, reference)
    fitted = None if pristine is None or well_lit else niqe.niqe(after, pristine)
    figures: dict[str, float | None] = {
        "psnr": psnr,
        "psnr_gain": gain,
        "worse": None if gain is None else float(gain < -UNSEEN_DB),
        "ssim": None if reference is None else metrics.ssim(after, reference),
        "niqe": fitted,
        "level_input": metrics.mean_level(before),
        "level": metrics.mean_level(after),
        "exposure_error": measures.exposure_error(after),
        "well_exposedness": measures.well_exposedness(after),
        "clipped_high_input": metrics.clipped_high(before),
        "clipped_high": metrics.clipped_high(after),
        "clipped_low_input": metrics.clipped_low(before),
        "clipped_low": metrics.clipped_low(after),
        "chroma": measures.chroma(after),
        "hue_error": measures.hue_error(before, after),
        "noise_gain": measures.noise_gain(before, after),
        "dark_lift": measures.dark_lift(before, after),
        "harm": metrics.psnr(after, before) if well_lit else None,
    }
    numbers = {name: np.nan if value is None else value for name, value in figures.items()}
    return {"set": sample.set, "photo": sample.photo, "method": method.name, "kind": method.kind, **numbers}
