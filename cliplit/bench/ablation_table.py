"""The ablation as a table: means with intervals over seeds, and how well the criterion ranks models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from cliplit.bench.ablation import Row
from cliplit.evaluation import compare

_SHOWN = {
    "score": ("score", 3),
    "harm_db": ("harm dB", 1),
    "clipped_ratio": ("clipped x", 2),
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 3),
}
_LEAST = 4  # models, below which a rank correlation says nothing


def markdown(rows: Sequence[Row]) -> str:
    """A line for each variant, round and scale, in the order trained; below it the rank correlations."""
    head = ["variant", "rounds", "steps", "seeds", "s a model", *(title for title, _ in _SHOWN.values())]
    lines = [_line(head), _line(["---"] * len(head))]
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["variant"], row["settings"], row["rounds"]), []).append(row)
    order = list(dict.fromkeys(key[:2] for key in groups))
    for key in sorted(groups, key=lambda each: (order.index(each[:2]), each[2])):
        group = groups[key]
        cells = [_cell(_values(group, name), digits) for name, (_, digits) in _SHOWN.items()]
        seconds = np.mean([float(row["seconds"]) for row in group])
        lines.append(
            _line([str(key[0]), str(key[2]), str(group[0]["steps"]), str(len(group)), f"{seconds:.0f}", *cells])
        )
    untouched = {round(float(row["score_identity"]), 3) for row in rows}
    remarks = [
        "Mean and 95 % bootstrap interval over seeds. Score: the criterion that selects rounds, on held-out photos "
        f"without references; photos as taken: {', '.join(f'{value:.3f}' for value in sorted(untouched))}. "
        "Clipped: pixels at 254 or above, after over before.",
        *(_correlation(rows, name, title) for name, title in (("psnr", "PSNR dB"), ("ssim", "SSIM"))),
    ]
    return "\n".join([*lines, "", *(f"- {text}" for text in remarks if text)]) + "\n"


def rank_correlation(rows: Sequence[Row], name: str) -> tuple[float, float, float, int] | None:
    """Spearman's rank correlation of score and column ``name`` over models: value, 95 % interval, number of models.

    The bootstrap draws training runs, not rounds: the rounds of one run are one network at three ages. None where
    fewer than four models have the column, or all are equal.
    """
    pairs = [(row, float(row["score"]), float(row[name])) for row in rows if row[name] != ""]
    if len(pairs) < _LEAST:
        return None
    value = _spearman([(score, other) for _, score, other in pairs])
    runs: dict[tuple, list[tuple[float, float]]] = {}
    for row, score, other in pairs:
        runs.setdefault((row["variant"], row["settings"], row["seed"]), []).append((score, other))
    clusters, rng = list(runs.values()), np.random.default_rng(0)
    draws = rng.integers(0, len(clusters), (compare.RESAMPLES, len(clusters)))
    drawn = [_spearman([pair for index in draw for pair in clusters[index]]) for draw in draws]
    finite = [each for each in drawn if math.isfinite(each)]
    if not math.isfinite(value) or not finite:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return value, float(low), float(high), len(pairs)


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    one, other = zip(*pairs, strict=True)
    if len(set(one)) < 2 or len(set(other)) < 2:
        return math.nan
    return float(spearmanr(one, other).statistic)


def _correlation(rows: Sequence[Row], name: str, title: str) -> str:
    found = rank_correlation(rows, name)
    if found is None:
        return ""
    value, low, high, count = found
    best = max((row for row in rows if row[name] != ""), key=lambda row: float(row["score"]))
    top = max(float(row[name]) for row in rows if row[name] != "")
    digits = dict(_SHOWN.values())[_SHOWN[name][0]]
    return (
        f"Rank correlation of score and {title} over {count} models: {value:.2f} [{low:.2f}, {high:.2f}] (bootstrap "
        f"over training runs). The model of the best score has {title} {float(best[name]):.{digits}f}, the model of "
        f"the best {title} {top:.{digits}f}."
    )


def _values(group: Sequence[Row], name: str) -> list[float]:
    return [float(row[name]) for row in group if row[name] != ""]


def _cell(values: list[float], digits: int) -> str:
    if not values:
        return ""
    interval = compare.bootstrap(values)
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
