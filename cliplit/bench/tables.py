"""The bench as files: a row a photo (CSV), all means with intervals (JSON), the table (Markdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cliplit.bench.methods import BOUND
from cliplit.bench.quality import Bench, worst
from cliplit.evaluation import compare
from cliplit.files import write_json, write_text

IDENTIFIERS = ("set", "photo", "method", "kind")
COLUMNS = {
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 3),
    "worse": ("worse", 2),
    "lpips": ("LPIPS", 3),
    "niqe": ("NIQE", 2),
    "clip_iqa": ("CLIP-IQA", 3),
    "level": ("level", 2),
    "exposure_error": ("exposure error", 3),
    "well_exposedness": ("well exposed", 3),
    "clipped_high": ("clipped", 3),
    "clipped_high_ratio": ("clipped x", 2),
    "chroma": ("chroma", 3),
    "hue_error": ("hue error °", 2),
    "noise_gain": ("noise x", 2),
    "dark_lift": ("lift x", 2),
    "harm": ("harm dB", 2),
}
WORST = 20


def summary(bench: Bench, seed: int) -> list[dict[str, Any]]:
    """A row for each set and method, in the order measured; each figure as mean, low, high (95 %) and n."""
    result = []
    for name in dict.fromkeys(bench.rows["set"]):
        for method in bench.methods:
            part = bench.rows[(bench.rows["set"] == name) & (bench.rows["method"] == method.name)]
            if len(part):
                result.append(
                    {"set": name, "method": method.name, "kind": method.kind, "figures": _figures(part, seed)}
                )
    return result


def markdown(bench: Bench, rows: list[dict[str, Any]]) -> str:
    """The table: mean and 95 % interval; columns that no row has are left out. Below it, what was found and missing."""
    shown = {key: value for key, value in COLUMNS.items() if any(key in row["figures"] for row in rows)}
    head = ["set", "method", "n", *(title for title, _ in shown.values())]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        figures = row["figures"]
        count = max(int(figure["n"]) for figure in figures.values())
        label = f"{row['method']} (upper bound)" if row["kind"] == BOUND else row["method"]
        cells = [_cell(figures.get(key), digits) for key, (_, digits) in shown.items()]
        lines.append(_line([row["set"], label, str(count), *cells]))
    return "\n".join([*lines, "", *_remarks(bench)]) + "\n"


def write(bench: Bench, folder: Path, seed: int) -> str:
    """Write per_photo.csv, bench.json and table.md into ``folder``; returns the Markdown."""
    rows = summary(bench, seed)
    text = markdown(bench, rows)
    write_text(folder / "per_photo.csv", bench.rows.to_csv(index=False, float_format="%.5f", lineterminator="\n"))
    content = {
        "seed": seed,
        "table": rows,
        "repeats": [{"photos": [each.one, each.other], "bits": each.bits} for each in bench.repeats],
        "weights_sha256": bench.weights,
        "failures": bench.failures,
        "notes": bench.notes,
        "worst": [
            {"photo": f"{row['set']}/{row['photo']}", "method": row["method"], "faults": found}
            for row, found in worst(bench, WORST)
        ],
    }
    write_json(folder / "bench.json", content)
    write_text(folder / "table.md", text)
    return text


def _figures(part: pd.DataFrame, seed: int) -> dict[str, dict[str, float]]:
    """Mean, interval and n of every figure that some photo of ``part`` has."""
    figures = {}
    for name in part.columns.difference(list(IDENTIFIERS), sort=False):
        values = part[name].dropna().to_numpy(dtype=np.float64)
        if len(values):
            interval = compare.bootstrap(values, seed)
            figures[str(name)] = _rounded(interval.mean, interval.low, interval.high, interval.n)
    ratio = clipped_ratio(part["clipped_high"].to_numpy(), part["clipped_high_input"].to_numpy(), seed)
    return figures if ratio is None else {**figures, "clipped_high_ratio": ratio}


def clipped_ratio(after: np.ndarray, before: np.ndarray, seed: int) -> dict[str, float] | None:
    """Clipped pixels after over before, of all photos together, with a bootstrap interval over photos.

    The ratio of the means, not the mean of ratios: many photos have no clipped pixel. None when no photo has one.
    """
    if not before.sum():
        return None
    draws = np.random.default_rng(seed).integers(0, len(before), (compare.RESAMPLES, len(before)))
    totals = before[draws].sum(axis=1)
    ratios = after[draws].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return _rounded(float(after.sum() / before.sum()), float(low), float(high), len(before))


def _rounded(mean: float, low: float, high: float, n: int) -> dict[str, float]:
    return {"mean": round(mean, 6), "low": round(low, 6), "high": round(high, 6), "n": n}


def _cell(figure: dict[str, float] | None, digits: int) -> str:
    if figure is None:
        return ""
    return f"{figure['mean']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _remarks(bench: Bench) -> list[str]:
    """One line for each thing a reader must know beside the numbers."""
    lines = ["Mean and 95 % bootstrap interval over photos. Upper bounds know the reference: no method can use them."]
    lines += [f"{note}." for note in bench.notes]
    if bench.repeats:
        shown = [f"{each.one} and {each.other}" for each in bench.repeats]
        lines.append(f"Photos that show the same ({len(shown)}; each is counted): {'; '.join(shown)}.")
    lines += [f"Not measured: {failure}." for failure in bench.failures]
    return [f"- {line}" for line in lines]
