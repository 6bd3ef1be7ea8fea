"""What an ICC profile says about RGB: its tone curves and primaries; and the working space that follows from them.

The networks expect sRGB's tone curve. Photos whose curve is near it (Display P3, Adobe RGB) are worked on as they are,
in their own primaries. Those whose curve is far from it (linear, ProPhoto's gamma 1.8, Rec. 709's) are coded in sRGB's
curve first and in their own again afterwards; the primaries stay theirs, so that no colour is lost on the way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How far a tone curve may be from sRGB's, both coded in sRGB's: Adobe RGB's gamma 2.2 is 0.03 away, gamma 1.8 0.08.
NEAR = 0.05
_ROUNDING = 1e-3  # where the two parts of a curve meet, the rounded numbers of profiles may step back a little
_CODES = np.linspace(0.0, 1.0, 65536)
#: Rec. 709's primaries as columns of XYZ, adapted to D50, as ICC profiles state them (sum: the D50 white).
REC709 = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def srgb_curve(linear: NDArray[Any]) -> NDArray[np.float32]:
    """The sRGB transfer curve (IEC 61966-2-1): linear, clipped to 0..1 -> coded 0..1."""
    linear = np.clip(linear, 0, 1)
    high = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, high).astype(np.float32)


def srgb_linear(coded: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse of ``srgb_curve``: coded 0..1 -> linear 0..1."""
    coded = np.clip(coded, 0, 1)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RgbProfile:
    """A profile made of three tone curves (each 65536 linear values 0..1 by code) and three primaries (XYZ, D50)."""

    curves: tuple[NDArray[np.float64], ...]
    primaries: NDArray[np.float64]

    @property
    def is_near_srgb(self) -> bool:
        """Whether photos in this profile may be worked on as if they were coded in sRGB's curve."""
        return all(np.abs(srgb_curve(curve[::257]) - _CODES[::257]).max() < NEAR for curve in self.curves)

    @property
    def is_linear(self) -> bool:
        return all(np.abs(curve - _CODES).max() < 1e-3 for curve in self.curves)

    @property
    def to_rec709(self) -> NDArray[np.float64] | None:
        """The matrix from linear values in these primaries to Rec. 709's; None: they are Rec. 709's."""
        matrix = np.linalg.solve(REC709, self.primaries)
        return None if np.abs(matrix - np.eye(3)).max() < 2e-3 else matrix


@dataclass(frozen=True, eq=False)
class WorkingSpace:
    """Tables of 65536 codes a channel: from a profile's tone curve to sRGB's, and back."""

    forward: NDArray[np.uint16]
    backward: NDArray[np.uint16]

    def enter(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint16]:
        """``pixels`` in sRGB's tone curve, always 16 bit."""
        return _look_up(self.forward, pixels.astype(np.uint16) * np.uint16(257) if pixels.dtype == np.uint8 else pixels)

    def leave(self, pixels: NDArray[np.uint16], dtype: np.dtype) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """What ``enter`` gave, perhaps relit, in the profile's tone curve and of type ``dtype``."""
        coded = _look_up(self.backward, pixels)
        return ((coded.astype(np.uint32) + 128) // 257).astype(np.uint8) if dtype == np.uint8 else coded


def working_space(icc: bytes | None) -> WorkingSpace | None:
    """How to work on photos coded in the profile ``icc``; None: as they are, which also holds for unreadable ones."""
    return None if icc is None else _working_space(icc)


def read_profile(icc: bytes) -> RgbProfile | None:
    """The profile's curves and primaries; None if it is damaged or made of tables instead."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        entries = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(min(count, 100))]
        tags = {name: icc[start : start + size] for name, start, size in entries}
        primaries = (
            np.array([struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T / 65536
        )
        shared: dict[bytes, NDArray[np.float64]] = {}
        curves = []
        for name in (b"rTRC", b"gTRC", b"bTRC"):
            data = tags[name]
            shared[data] = shared[data] if data in shared else _curve(data)
            curves.append(shared[data])
    except (struct.error, KeyError, ValueError, IndexError, OverflowError):
        return None
    usable = abs(np.linalg.det(primaries)) > 1e-4 and all(_rises(curve) for curve in curves)
    return RgbProfile(tuple(np.maximum.accumulate(curve) for curve in curves), primaries) if usable else None


@lru_cache(maxsize=16)
def _working_space(icc: bytes) -> WorkingSpace | None:
    profile = read_profile(icc)
    if profile is None or profile.is_near_srgb:
        return None
    coded = [srgb_curve(curve) for curve in profile.curves]
    forward = np.stack([np.round(code * 65535) for code in coded]).astype(np.uint16)
    backward = np.stack([np.round(np.interp(_CODES, code, _CODES) * 65535) for code in coded]).astype(np.uint16)
    return WorkingSpace(forward, backward)


def _look_up(tables: NDArray[np.uint16], pixels: NDArray[Any]) -> NDArray[np.uint16]:
    result = np.empty(pixels.shape, np.uint16)
    for channel, table in enumerate(tables):
        np.take(table, pixels[..., channel], out=result[..., channel])
    return result


def _rises(curve: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(curve).all() and (np.diff(curve) >= -_ROUNDING).all() and curve[-1] - curve[0] > 0.5)


def _curve(data: bytes) -> NDArray[np.float64]:
    """A "curv" or "para" tag as 65536 values (ICC.1:2022, 10.6 and 10.18)."""
    if data[:4] == b"para":
        return _parametric(data)
    if data[:4] != b"curv":
        raise ValueError("not a curve")
    (count,) = struct.unpack_from(">I", data, 8)
    if count == 0:
        return _CODES
    values = np.frombuffer(data, ">u2", count, 12).astype(np.float64)
    if count == 1:
        return _CODES ** (values[0] / 256)
    return np.interp(_CODES, np.linspace(0, 1, count), values / 65535)


def _parametric(data: bytes) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", data, 8)
    given = [value / 65536 for value in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", data, 12)]
    g, a, b, c, d, e, f = given + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    with np.errstate(all="ignore"):
        if kind in (1, 2):
            offset = c if kind == 2 else 0.0
            return np.clip(np.where(_CODES * a + b >= 0, np.abs(a * _CODES + b) ** g, 0.0) + offset, 0, 1)
        upper = np.maximum(a * _CODES + b, 0) ** g + e
        return np.clip(np.where(d <= _CODES, upper, c * _CODES + f) if kind >= 3 else upper, 0, 1)
