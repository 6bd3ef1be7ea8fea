"""High dynamic range: scene-linear light, of which 1.0 is diffuse white and more is allowed, as networks can see it.

With m = max(1, brightest channel of a pixel x), the coded view is what a screen shows that keeps a highlight's hue,

    c = code(max(x, 0) / m),

code being the sRGB curve; the view is relit like any photo, and what came of it, y, goes back to light by

    m · decode(y) + min(x, 0).

Up to 1 this is exactly what the view gets. Relighting leaves white white under any gain (see networks/gain.py), so
beyond 1 a pixel keeps its brightest channel: nothing is held down to 1, brighter stays brighter, and both meet at 1.
Channels below 0, colours outside the primaries, stay as they are.
"""

from __future__ import annotations

import numpy as np
from numba import float32, njit, types

from cliplit.networks.compiled import OPTIONS, compiled, in_strips, plain

_ZERO, _ONE = np.float32(0), np.float32(1)
_LARGEST = np.float32(1e37)  # light beyond, infinity included, is taken for this
_IN, _OUT = types.Array(float32, 2, "C", readonly=True), float32[:, ::1]


def coded_view(linear: np.ndarray) -> np.ndarray:
    """c of scene-linear float32 H x W x 3, float32 in 0..1; what is not a number becomes 0."""
    view = np.empty(linear.shape, np.float32)
    _over_rows(_code_rows, linear, view)
    return view


def to_light(relit_view: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Scene-linear light of the relit view of ``linear``; written over ``relit_view``, which is returned."""
    _over_rows(_decode_rows, linear, relit_view)
    return relit_view


def _over_rows(function, linear: np.ndarray, target: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    height, width, _ = linear.shape
    run = compiled(function, _IN, _OUT, types.intp, types.intp)
    source, result = plain(linear).reshape(height, -1), target.reshape(height, -1)
    in_strips(lambda top, bottom: run(source, result, top, bottom), height, width)


def _code_rows(linear, view, top, bottom):  # type: ignore[no-untyped-def]
    for row in range(top, bottom):
        for at in range(0, linear.shape[1], 3):
            most = _most(linear[row], at)
            for channel in range(at, at + 3):
                light = _real(linear[row, channel])
                view[row, channel] = _code(max(light, _ZERO) / most)


def _decode_rows(linear, view, top, bottom):  # type: ignore[no-untyped-def]
    for row in range(top, bottom):
        for at in range(0, linear.shape[1], 3):
            most = _most(linear[row], at)
            for channel in range(at, at + 3):
                light = _real(linear[row, channel])
                view[row, channel] = most * _decode(view[row, channel]) + min(light, _ZERO)


@njit(**OPTIONS)
def _real(light):  # type: ignore[no-untyped-def]
    return min(max(light, -_LARGEST), _LARGEST) if light == light else _ZERO


@njit(**OPTIONS)
def _most(row, at):  # type: ignore[no-untyped-def]
    """m of the pixel whose red stands ``at``."""
    return max(max(_real(row[at]), _real(row[at + 1])), max(_real(row[at + 2]), _ONE))


@njit(**OPTIONS)
def _code(light):  # type: ignore[no-untyped-def]
    """The sRGB curve (IEC 61966-2-1) of a channel in 0..1."""
    if light <= np.float32(0.0031308):
        return np.float32(12.92) * light
    return np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)


@njit(**OPTIONS)
def _decode(coded):  # type: ignore[no-untyped-def]
    """The inverse of ``_code``."""
    if coded <= np.float32(0.04045):
        return coded * np.float32(1 / 12.92)
    return ((coded + np.float32(0.055)) * np.float32(1 / 1.055)) ** np.float32(2.4)
