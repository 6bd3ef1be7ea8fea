"""Colours in their own profile: outside sRGB before and after, whatever tone curve the profile has."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from file_kinds import linear_icc, p3_icc, prophoto_icc

from cliplit.enhancer import Enhancer
from cliplit.photos.codecs import Photo, decode_photo, eight_bit, encode_photo, to_srgb
from cliplit.photos.profiles import read_profile, srgb_curve, srgb_linear, working_space

DEPTHS = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


@pytest.fixture(scope="module")
def enhancer(weights: Path) -> Enhancer:
    return Enhancer.load(weights, "cpu")


def green_ramp(dtype: type) -> np.ndarray:
    """Nearly pure green from dark to half of the range, growing to the right."""
    green = np.tile(np.linspace(0.1, 0.5, 128), (64, 1))
    return np.round(np.stack([green * 0.05, green, green * 0.05], -1) * np.iinfo(dtype).max).astype(dtype)


def rises(pixels: np.ndarray) -> bool:
    """No step back larger than a thousandth, which neighbouring cells of the grid may differ by, and rounding."""
    steps = np.diff(pixels[32, :, 1].astype(int))
    return bool((steps >= -1 - np.iinfo(pixels.dtype).max // 1000).all())


def linear_red_in_rec709(photo: Photo) -> np.ndarray:
    """The red channel as linear light in Rec. 709: below 0 where a colour is outside sRGB."""
    profile = read_profile(photo.icc)
    codes = photo.pixels.astype(np.float64) / np.iinfo(photo.pixels.dtype).max * 65535
    light = np.stack([profile.curves[k][codes[..., k].astype(int)] for k in range(3)], -1)
    return (light @ profile.to_rec709.T)[..., 0]


@DEPTHS
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_display_p3_stays_display_p3(enhancer: Enhancer, dtype: type, kind: str) -> None:
    photo = Photo(green_ramp(dtype), kind, icc=p3_icc())
    read = decode_photo(encode_photo(photo), "p3")
    assert read.icc == p3_icc() and (read.pixels == photo.pixels).all()
    relit = decode_photo(encode_photo(enhancer.enhance_photo(read)), "relit")
    assert relit.icc == p3_icc() and relit.pixels.dtype == dtype
    assert relit.pixels.mean() > 1.3 * read.pixels.mean()
    assert (linear_red_in_rec709(read) < 0).mean() > 0.9
    assert (linear_red_in_rec709(relit) < 0).mean() > 0.9
    assert rises(relit.pixels)
    assert (enhancer.enhance_photo(read, 0).pixels == read.pixels).all()


@DEPTHS
@pytest.mark.parametrize("icc", [linear_icc, prophoto_icc])
def test_far_curves_are_relit_as_the_same_colours_in_a_near_one(enhancer: Enhancer, icc, dtype: type) -> None:
    """The picture in its own curve gives what the same picture gives in sRGB's curve, and keeps its profile."""
    coded = np.repeat(np.linspace(0.05, 0.6, 128)[None, :, None], 64, 0).repeat(3, 2)
    curve = read_profile(icc()).curves[0]
    own = np.interp(srgb_linear(coded), curve, np.linspace(0, 1, 65536))
    full = np.iinfo(dtype).max
    photo = Photo(np.round(own * full).astype(dtype), icc=icc())
    same = Photo(
        np.round(srgb_curve(np.interp(photo.pixels / full, np.linspace(0, 1, 65536), curve)) * 65535).astype("u2")
    )
    relit = enhancer.enhance_photo(photo)
    assert relit.icc == icc() and relit.pixels.dtype == dtype
    seen = srgb_curve(np.interp(relit.pixels / full, np.linspace(0, 1, 65536), curve))
    expected = enhancer.enhance_photo(same).pixels / 65535
    assert np.abs(seen - expected).max() < (0.001 if dtype == np.uint16 else 0.02)
    assert rises(relit.pixels)
    assert (enhancer.enhance_photo(photo, 0).pixels == photo.pixels).all()


def test_which_profiles_have_a_working_space() -> None:
    assert working_space(None) is None and working_space(p3_icc()) is None
    assert working_space(b"nonsense" * 40) is None
    adobe = [0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1]
    assert (
        working_space(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=adobe, gamma=2.2)) is None
    )
    for icc in (linear_icc(), prophoto_icc()):
        space = working_space(icc)
        every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, 2)
        there = space.enter(every)
        assert (np.diff(there[..., 0].ravel().astype(int)) >= 0).all()
        assert (
            np.abs(space.leave(there, np.dtype(np.uint16)).astype(int) - every).max() <= 32
        )  # gamma 1.8 is flat at black
        eight = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
        assert (space.leave(space.enter(eight), np.dtype(np.uint8)) == eight).all()


@pytest.mark.parametrize("kind", range(5))
def test_parametric_curves_are_what_lcms_makes_of_them(kind: int) -> None:
    given = [2.4, 0.9479, 0.0521, 0.0774, 0.04045, 0.0, 0.0]
    numbers = {0: [2.2], 1: [2.2, 0.9, 0.1], 2: [2.2, 0.8, 0.1, 0.05], 3: given[:5], 4: [*given[:5], 0.01, 0.01]}[kind]
    curve = b"para\0\0\0\0" + kind.to_bytes(2, "big") + b"\0\0"
    curve += b"".join(round(number * 65536).to_bytes(4, "big", signed=True) for number in numbers)
    icc = with_curve(linear_icc(), curve)
    ramp = np.linspace(0, 65535, 500).astype(np.uint16)[None, :, None].repeat(3, 2)
    by_lcms = imagecodecs.cms_transform(ramp, icc, linear_icc(), colorspace="rgb", outcolorspace="rgb", intent=1)
    ours = read_profile(icc).curves[0][ramp[0, :, 0]]
    assert np.abs(by_lcms[0, :, 1] / 65535 - ours).max() < 0.002


def with_curve(icc: bytes, curve: bytes) -> bytes:
    """``icc`` with ``curve`` as the tone curve of all channels."""
    data = bytearray(icc)
    for at in range(132, 132 + 12 * int.from_bytes(icc[128:132], "big"), 12):
        if data[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            data[at + 4 : at + 12] = len(icc).to_bytes(4, "big") + len(curve).to_bytes(4, "big")
    data += curve
    data[:4] = len(data).to_bytes(4, "big")
    return bytes(data)


def test_training_and_measuring_see_srgb() -> None:
    p3 = Photo(green_ramp(np.uint16), icc=p3_icc())
    seen = eight_bit(to_srgb(p3))
    assert seen.icc is None and seen.pixels.dtype == np.uint8
    shallow = to_srgb(eight_bit(p3))
    assert np.abs(seen.pixels.astype(int) - shallow.pixels).max() <= 2
