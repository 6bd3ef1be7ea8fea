"""How much a film flickers beside the film it was made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

_DARK = 1e-3  # black frames have a logarithm too


def flicker(before: Sequence[float], after: Sequence[float], cuts: Collection[int] = ()) -> float:
    """Variance of the frame-to-frame change of mean luma, ``after`` over ``before``.

    With m(t) the mean luma of frame t (0..255, both of equal length) and d(t) = log m(t) - log m(t - 1),

        flicker = Var(d_after) / Var(d_before).

    The change is relative, because a film that is twice as bright changes by twice as much for the eye's one step: the
    same gain for every frame gives exactly 1. Steps into the frames ``cuts`` are left out of both. 1 is also returned
    for two films that do not change at all, infinity where only the first does not.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} frames cannot be compared with {len(after)}")
    steps = [index for index in range(1, len(before)) if index not in cuts]
    one, other = (_variance(np.asarray(luma, np.float64), steps) for luma in (before, after))
    if one == 0:
        return 1.0 if other == 0 else float("inf")
    return other / one


def pumping(before: Sequence[float], after: Sequence[float], cuts: Collection[int] = ()) -> float:
    """How much the light itself moves from frame to frame: the RMS step of log(m_after / m_before), in percent.

    A network that sees one frame at a time also hides what flickers in the film, by following it; ``flicker`` then
    counts in its favour, and this figure shows it. The same gain for every frame gives 0.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} frames cannot be compared with {len(after)}")
    gain = np.log(np.asarray(after, np.float64) + _DARK) - np.log(np.asarray(before, np.float64) + _DARK)
    steps = [gain[index] - gain[index - 1] for index in range(1, len(gain)) if index not in cuts]
    return 100 * float(np.sqrt(np.mean(np.square(steps)))) if steps else 0.0


def mean_luma(pixels: np.ndarray, every: int = 1) -> float:
    """Mean Rec. 601 luma, 0..255, of every n-th row and column of H x W x 3 uint8 or uint16 pixels."""
    channels = pixels[::every, ::every].reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return float(channels @ (0.299, 0.587, 0.114)) / (1 if pixels.dtype == np.uint8 else 257)


def _variance(luma: np.ndarray, steps: list[int]) -> float:
    if not steps:
        return 0.0
    changes = np.diff(np.log(luma + _DARK))[np.array(steps) - 1]
    return float(changes.var())
