"""Training curves as inline SVG: drawn from artifacts/plots/*.csv, no library and no script in the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

WIDTH, HEIGHT = 300, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 22
SMOOTHING = 0.08  # of the steps: the bold line is a running mean, the faint one what was logged


@dataclass(frozen=True)
class Curve:
    """One chart: points in SVG units and the labels of its axes."""

    title: str
    raw: str
    smooth: str
    low: str
    high: str
    steps: str
    summary: str


def curve(path: Path, title: str) -> Curve | None:
    """The chart of column ``loss`` over ``step`` of a CSV; None when there is no such file or nothing finite in it."""
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    if not {"step", "loss"} <= set(table.columns):
        return None
    table = table[["step", "loss"]].apply(pd.to_numeric, errors="coerce").dropna()
    table = table[table["loss"].abs() < math.inf]
    if table.empty:
        return None
    window = max(1, round(len(table) * SMOOTHING))
    smooth = table["loss"].rolling(window, min_periods=1, center=True).mean()
    low, high = float(table["loss"].min()), float(table["loss"].max())
    steps, losses = table["step"].tolist(), table["loss"].tolist()
    summary = f"loss from {float(smooth.iloc[0]):.3g} to {float(smooth.iloc[-1]):.3g} in {steps[-1]:.0f} steps"
    return Curve(
        title,
        _points(steps, losses, low, high),
        _points(steps, smooth.tolist(), low, high),
        f"{low:.3g}",
        f"{high:.3g}",
        f"{steps[-1]:.0f}",
        summary,
    )


def _points(steps: list[float], values: list[float], low: float, high: float) -> str:
    """An SVG polyline's points; one decimal is a tenth of a pixel."""
    first, last = steps[0], steps[-1]

    def place(value: float, start: float, end: float, at: float, to: float) -> float:
        return at if end <= start else at + (value - start) / (end - start) * (to - at)

    return " ".join(
        f"{place(step, first, last, LEFT, WIDTH - RIGHT):.1f},{place(value, low, high, HEIGHT - BOTTOM, TOP):.1f}"
        for step, value in zip(steps, values, strict=True)
    )
