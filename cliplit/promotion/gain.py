"""How much better one model is than another on the same photos, and how sure that is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cliplit.errors import UserError
from cliplit.evaluation.compare import RESAMPLES, Interval
from cliplit.evaluation.criterion import HARM, HARMLESS_DB

_DIFFERENCES = {
    "value_gain": ("backlit", "value_after", "value_before"),
    "pairs_psnr_gain": ("pairs", "psnr_ours", "psnr_input"),
}


def values(table: pd.DataFrame, metric: str) -> dict[str, np.ndarray]:
    """{set: value of each photo} such that ``metric`` is the sum over the sets of the means.

    Raises UserError for a metric that evaluate's figures lack or that has no value per photo.
    """
    sets = {str(name): table[table["set"] == name] for name in table["set"].unique()}
    if metric in ("score", "score_gain"):
        backlit, well_lit = sets["backlit"], sets["well_lit"]
        untouched = backlit["value_before"] if metric == "score_gain" else 0.0
        harm = -HARM * (HARMLESS_DB - well_lit["harm_psnr_db"]).clip(lower=0) / 10
        return {"backlit": _array(backlit["value_after"] - untouched), "well_lit": _array(harm)}
    if metric in _DIFFERENCES:
        name, after, before = _DIFFERENCES[metric]
        if name in sets:
            return {name: _array(sets[name][after] - sets[name][before])}
    name = "well_lit" if metric == "harm_psnr_db" else "pairs" if metric.startswith("pairs_") else "backlit"
    column = metric.removeprefix("pairs_")
    if name in sets and column in sets[name].select_dtypes("number"):
        return {name: _array(sets[name][column])}
    raise UserError(
        f"params.yaml: promotion.metric is '{metric}', which the evaluation does not give for each photo; use score, "
        "value_gain, harm_psnr_db, light_after, structure, or with pairs pairs_psnr_gain"
    )


def gain(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str, seed: int = 0) -> Interval:
    """``metric`` of ``ours`` minus that of ``theirs``, with the 95 % interval of a paired bootstrap over photos.

    Photos are drawn with replacement within each set, the same ones for both models (Efron & Tibshirani 1993).
    """
    mine, other = values(ours, metric), values(theirs, metric)
    names = [list(table.loc[table["set"].isin(list(mine)), "photo"]) for table in (ours, theirs)]
    if names[0] != names[1]:
        raise ValueError("the two tables are about different photos")
    return _interval({name: value - other[name] for name, value in mine.items()}, seed)


def level(table: pd.DataFrame, metric: str, seed: int = 0) -> Interval:
    """``metric`` itself, with the 95 % interval of a bootstrap over photos."""
    return _interval(values(table, metric), seed)


def _interval(parts: dict[str, np.ndarray], seed: int) -> Interval:
    """The sum over the sets of their means, photos drawn with replacement within each set."""
    rng = np.random.default_rng(seed)
    mean, resampled, count = 0.0, np.zeros(RESAMPLES), 0
    for value in parts.values():
        draws = rng.integers(0, value.size, (RESAMPLES, value.size))
        mean += float(value.mean())
        resampled += value[draws].mean(axis=1)
        count += value.size
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(mean, float(low), float(high), count)


def _array(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.float64)
