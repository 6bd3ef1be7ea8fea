"""The grid network's pass over the full photo on a CPU: each pixel is read once and written once.

The same maths as ``grid.illumination`` followed by ``gain.apply_illumination``, whose docstrings state it, for uint8,
uint16 and float32, without any array of the photo's size between input and output. A row goes through in pieces that
stay in the first-level cache, step by step, so that every step is a loop that the compiler turns into vector code.
The grid's rows are interpolated once for each row of the photo.

All compiled code of the pass lies in this file, and numbers of other files come in as arguments, because numba's cache
on disk notices a change of this file only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import float32, int32, njit, types

from cliplit.networks.compiled import OPTIONS, compiled, in_strips, plain
from cliplit.networks.denoise import CAUTION, FULL_GAIN
from cliplit.networks.gain import COLOR_NOISE, KNEE
from cliplit.networks.grid import LEAST_LOG_GAIN
from cliplit.networks.passes import full_scale

assert KNEE == 4, "the kernel takes the fourth root by two square roots"

_PIECE = 512  # pixels
_ZERO, _HALF, _ONE, _TINY = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e-6)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)  # as gain.luma_of
_MOST = np.float32(20)  # log-gain times strength is held to this: everything but black is white long before

_PHOTO = {
    kind: types.Array(scalar, 2, "C", readonly=True)
    for kind, scalar in (("uint8", types.uint8), ("uint16", types.uint16), ("float32", float32))
}
_OUT = {kind: photo.copy(readonly=False) for kind, photo in _PHOTO.items()}
_ROWS = (types.intp, types.intp)


def relight(
    pixels: np.ndarray,
    grid: np.ndarray,
    most_log_gain: float,
    strength: float = 1.0,
    out: np.ndarray | None = None,
    noise: float = 0.0,
) -> np.ndarray:
    """Relight sRGB-coded ``pixels`` (H x W x 3: uint8, uint16, or float32, whose values are held to 0..1).

    ``grid`` is KNOTS x h x w log-gains and ``most_log_gain`` their bound. The result goes into ``out``, a C-contiguous
    array of the same shape and type, or into a new one. Where ``noise`` is above 0, shadows are calmed before they are
    lifted, as by ``denoise.calm_shadows``; where it is 0, ``out`` may be ``pixels``. Thread-safe.
    """
    width = pixels.shape[1]
    knots, _, cells = grid.shape
    kind = pixels.dtype.name
    run = compiled(
        _relight, _PHOTO[kind], float32[:, :, ::1], int32[::1], float32[::1], float32[::1], _OUT[kind], *_ROWS
    )
    place = np.clip((np.arange(width) + 0.5) * cells / width - 0.5, 0, cells - 1)
    left = place.astype(np.int32)
    settings = _settings(pixels.dtype, strength, LEAST_LOG_GAIN, most_log_gain, noise)
    table = np.ascontiguousarray(grid, np.float32)
    return _over_rows(run, pixels, out, table, left * np.int32(knots), (place - left).astype(np.float32), settings)


def relight_by_map(
    pixels: np.ndarray, illumination: np.ndarray, strength: float = 1.0, out: np.ndarray | None = None
) -> np.ndarray:
    """Relight sRGB-coded ``pixels``, as for ``relight``, by an illumination map of H x W, above 0. Thread-safe."""
    kind = pixels.dtype.name
    run = compiled(_relight_by_map, _PHOTO[kind], _PHOTO["float32"], float32[::1], _OUT[kind], *_ROWS)
    settings = _settings(pixels.dtype, strength, -float(_MOST), float(_MOST))
    return _over_rows(run, pixels, out, np.ascontiguousarray(illumination, np.float32), settings)


def _over_rows(run: Callable[..., None], pixels: np.ndarray, out: np.ndarray | None, *more: Any) -> np.ndarray:
    """Call ``run(pixels, *more, out, top, bottom)`` for strips of rows, pixels and out as H x 3W."""
    height, width, _ = pixels.shape
    result = np.empty(pixels.shape, pixels.dtype) if out is None else out
    source, target = plain(pixels).reshape(height, -1), result.reshape(height, -1)
    in_strips(lambda top, bottom: run(source, *more, target, top, bottom), height, width)
    return result


def _settings(dtype: np.dtype, strength: float, least: float, most: float, noise: float = 0.0) -> np.ndarray:
    """The numbers that compiled code needs, in this order."""
    uncertain = (CAUTION * noise) ** 2
    return np.array([full_scale(dtype), strength, least, most, COLOR_NOISE, uncertain, FULL_GAIN], np.float32)


def _relight(pixels, grid, cell, part, settings, out, top, bottom):  # type: ignore[no-untyped-def]
    """Rows top..bottom of H x 3W ``pixels`` into ``out``."""
    knots, _, cells = grid.shape
    table = np.empty((cells + 1) * knots, np.float32)
    lanes = np.empty((5, _PIECE), np.float32)
    sums = np.empty((5, _PIECE + 2), np.float32)
    for row in range(top, bottom):
        _row_table(grid, row, pixels.shape[0], table)
        for start in range(0, cell.size, _PIECE):
            count = min(_PIECE, cell.size - start)
            _load(pixels[row], start, count, settings[0], lanes)
            _slice(table, cell, part, start, count, knots, settings, lanes)
            _exponential(count, settings[1], lanes[4])
            if settings[5] > _ZERO:
                _calm(pixels, row, start, count, settings, lanes, sums)
            _lift(count, settings, lanes)
            _store(out[row], start, count, settings[0], lanes)


def _relight_by_map(pixels, illumination, settings, out, top, bottom):  # type: ignore[no-untyped-def]
    """Rows top..bottom of H x 3W ``pixels`` into ``out``."""
    lanes = np.empty((5, _PIECE), np.float32)
    width = illumination.shape[1]
    for row in range(top, bottom):
        for start in range(0, width, _PIECE):
            count = min(_PIECE, width - start)
            _load(pixels[row], start, count, settings[0], lanes)
            for i in range(count):
                lanes[4, i] = -np.log(illumination[row, start + i])
            _exponential(count, settings[1], lanes[4])
            _lift(count, settings, lanes)
            _store(out[row], start, count, settings[0], lanes)


@njit(**OPTIONS)
def _row_table(grid, row, height, table):  # type: ignore[no-untyped-def]
    """The knots of each cell at this row of the photo, cell after cell; the last cell stands twice."""
    knots, rows, cells = grid.shape
    place = min(max((row + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
    upper = int(place)
    lower = min(upper + 1, rows - 1)
    part = np.float32(place - upper)
    for cell in range(cells + 1):
        for knot in range(knots):
            above = grid[knot, upper, min(cell, cells - 1)]
            below = grid[knot, lower, min(cell, cells - 1)]
            table[cell * knots + knot] = above + (below - above) * part


@njit(**OPTIONS)
def _unit(value, scale):  # type: ignore[no-untyped-def]
    """A channel in 0..1; what is not a number becomes 0."""
    share = np.float32(value) * scale
    return min(share if share > _ZERO else _ZERO, _ONE)


@njit(**OPTIONS)
def _load(row, start, count, full, lanes):  # type: ignore[no-untyped-def]
    """Channels and the brightest of each pixel."""
    red, green, blue, brightest = lanes[0], lanes[1], lanes[2], lanes[3]
    scale = _ONE / full
    for i in range(count):
        at = 3 * (start + i)
        r, g, b = _unit(row[at], scale), _unit(row[at + 1], scale), _unit(row[at + 2], scale)
        red[i], green[i], blue[i], brightest[i] = r, g, b, max(r, max(g, b))


@njit(**OPTIONS)
def _slice(table, cell, part, start, count, knots, settings, lanes):  # type: ignore[no-untyped-def]
    """Log-gains of a piece: between two cells and two knots, the knots beside the pixel's gain.guide_of."""
    red, green, blue, brightest, gain = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    last, one, step = np.int32(knots - 2), np.uint32(1), np.uint32(knots)
    least, most = settings[2], settings[3]
    for i in range(count):
        guide = (_RED * red[i] + _GREEN * green[i] + _BLUE * blue[i] + brightest[i]) * _HALF
        place = max(guide, _ZERO) * np.float32(knots - 1)
        knot = min(np.int32(place), last)
        rest = min(place - np.float32(knot), _ONE)
        at = np.uint32(cell[start + i] + knot)
        here = table[at] + (table[at + step] - table[at]) * part[start + i]
        after = table[at + one] + (table[at + one + step] - table[at + one]) * part[start + i]
        gain[i] = min(max(here + (after - here) * rest, least), most)


@njit(**OPTIONS)
def _exponential(count, strength, gain):  # type: ignore[no-untyped-def]
    """Log-gains to gains, to six digits, by the series for a 64th, squared six times: math.exp is no vector code."""
    for i in range(count):
        small = min(max(gain[i] * strength, -_MOST), _MOST) * np.float32(1 / 64)
        series = np.float32(1 / 6) + small * (np.float32(1 / 24) + small * np.float32(1 / 120))
        power = _ONE + small * (_ONE + small * (_HALF + small * series))
        for _ in range(6):
            power *= power
        gain[i] = power


@njit(**OPTIONS)
def _calm(pixels, row, start, count, settings, lanes, sums):  # type: ignore[no-untyped-def]
    """denoise.calm_shadows of a piece, in place; ``sums`` are of three rows, with one column more on either side."""
    height, width = pixels.shape[0], pixels.shape[1] // 3
    first, last = max(start - 1, 0), min(start + count + 1, width)
    scale, at_first = _ONE / settings[0], first - start + 1
    sums[:, :] = _ZERO
    for near in range(row - 1, row + 2):
        line = pixels[min(max(near, 0), height - 1)]
        for i in range(last - first):
            at, to = 3 * (first + i), at_first + i
            r, g, b = _unit(line[at], scale), _unit(line[at + 1], scale), _unit(line[at + 2], scale)
            luma = _RED * r + _GREEN * g + _BLUE * b
            for lane, value in enumerate((r, g, b, luma, luma * luma)):
                sums[lane, to] += value
    if start == 0:
        sums[:, 0] = sums[:, 1]
    if start + count == width:
        sums[:, count + 1] = sums[:, count]
    uncertain, most_lift, ninth = settings[5], _ONE / (_ONE - _ONE / settings[6]), np.float32(1 / 9)
    for i in range(count):
        mean = (sums[3, i] + sums[3, i + 1] + sums[3, i + 2]) * ninth
        variance = max((sums[4, i] + sums[4, i + 1] + sums[4, i + 2]) * ninth - mean * mean, _ZERO)
        lift = min(max((_ONE - _ONE / lanes[4, i]) * most_lift, _ZERO), _ONE)
        weight = uncertain / (variance + uncertain) * lift
        for channel in range(3):
            around = (sums[channel, i] + sums[channel, i + 1] + sums[channel, i + 2]) * ninth
            lanes[channel, i] += (around - lanes[channel, i]) * weight
        lanes[3, i] = max(lanes[0, i], max(lanes[1, i], lanes[2, i]))


@njit(**OPTIONS)
def _lift(count, settings, lanes):  # type: ignore[no-untyped-def]
    """gain.apply_illumination of a piece, in place, but for the last clamp."""
    red, green, blue, brightest, gains = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    noise = settings[4]
    for i in range(count):
        most, gain = brightest[i], gains[i]
        lifted, squared = most * gain, most * most
        lifted *= lifted
        knee = max(_ONE + lifted * lifted - squared * squared, _TINY)
        certainty = (most + _TINY) / (most + _TINY + noise * max(gain - _ONE, _ZERO))
        factor = gain / np.sqrt(np.sqrt(knee))
        r, g, b = red[i] * factor, green[i] * factor, blue[i] * factor
        luma = _RED * r + _GREEN * g + _BLUE * b
        red[i] = luma + (r - luma) * certainty
        green[i] = luma + (g - luma) * certainty
        blue[i] = luma + (b - luma) * certainty


@njit(**OPTIONS)
def _store(row, start, count, full, lanes):  # type: ignore[no-untyped-def]
    """Channels held to 0..1, rounded where the photo is of integers."""
    red, green, blue = lanes[0], lanes[1], lanes[2]
    half = _HALF if full > _ONE else _ZERO
    for i in range(count):
        at = 3 * (start + i)
        row[at] = min(max(red[i], _ZERO), _ONE) * full + half
        row[at + 1] = min(max(green[i], _ZERO), _ONE) * full + half
        row[at + 2] = min(max(blue[i], _ZERO), _ONE) * full + half
