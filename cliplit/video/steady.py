"""Steady in time: the grid of log-gains follows the film slowly, and starts anew where a new scene does.

A network that sees one frame at a time gives each its own light, and frames that hardly differ then flicker. The grid
is small (12 x 16 x 16) and interpolating between grids gives a grid, so it is smoothed over time and every frame is
relit by the smoothed one. Places move and the grid lags behind by TAU at most; what keeps edges sharp is the guide,
which is taken from the frame itself.
"""

from __future__ import annotations

import math

import numpy as np

#: Seconds in which the light comes 63 % of the way nearer to that of a film that changes suddenly but not by a cut.
TAU = 0.4
#: A cut: blocks of the picture differ by more than CHANGE of their mean, and light lies elsewhere (correlation below
#: ALIKE). Between demo scenes the first is at least 0.3, within pans at most 0.15; an exposure leaves the second at 1.
CHANGE, ALIKE = 0.22, 0.8
_ROWS, _COLUMNS = 18, 32


class Steadier:
    """Turns each frame's own grid into a steady one; knows the frames before, in order. Not thread-safe."""

    def __init__(self, tau: float = TAU) -> None:
        self.tau = tau
        self.cuts: list[int] = []
        self._index = -1
        self._since_cut = 0
        self._time = 0.0
        self._view: View | None = None
        self._grid: np.ndarray | None = None

    def __call__(self, grid: np.ndarray, small: np.ndarray, time: float) -> np.ndarray:
        """The steady grid (float32, as ``grid``) of the next frame.

        ``small`` is the frame at a small size (h x w x 3 uint8) and ``time`` its time in seconds. Right after a cut the
        grid is the mean of those since the cut: one frame's own grid is as noisy as that frame.
        """
        self._index += 1
        view, before = View(small), self._view
        if before is None or self._grid is None or is_cut(before, view):
            if before is not None:
                self.cuts.append(self._index)
            self._since_cut, self._grid = 1, grid.astype(np.float32)
        else:
            self._since_cut += 1
            share = 1 - math.exp(-max(time - self._time, 0.0) / self.tau) if self.tau > 0 else 1.0
            self._grid = self._grid + np.float32(max(share, 1 / self._since_cut)) * (grid - self._grid)
        self._view, self._time = view, time
        return self._grid


class View:
    """What of a frame tells one scene from the next: where it is bright."""

    def __init__(self, small: np.ndarray) -> None:
        luma = small.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        height, width = luma.shape
        rows = np.linspace(0, height, min(_ROWS, height), endpoint=False).astype(int)
        columns = np.linspace(0, width, min(_COLUMNS, width), endpoint=False).astype(int)
        blocks = np.add.reduceat(np.add.reduceat(luma, rows, axis=0), columns, axis=1)
        areas = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
        # The square root spreads the shadows, where a backlit scene has most of its shapes.
        self.blocks = np.sqrt(blocks / areas)


def is_cut(before: View, after: View) -> bool:
    """Whether two frames in a row show different scenes; pans, noise and changes of exposure are none."""
    if before.blocks.shape != after.blocks.shape:
        return True
    return change(before, after) > CHANGE and correlation(before, after) < ALIKE


def change(one: View, other: View) -> float:
    """How far the blocks differ on average, as a share of their mean (of one level at least)."""
    mean = (float(one.blocks.mean()) + float(other.blocks.mean())) / 2
    return float(np.abs(one.blocks - other.blocks).mean()) / max(mean, 1.0)


def correlation(one: View, other: View) -> float:
    """-1..1: how alike light and dark are distributed over the two pictures; 1 for two that are even grey."""
    a, b = one.blocks - one.blocks.mean(), other.blocks - other.blocks.mean()
    noise = 0.02 * a.size  # two black frames are alike, whatever their noise
    return float(((a * b).sum() + noise) / (math.sqrt((a * a).sum() * (b * b).sum()) + noise))
