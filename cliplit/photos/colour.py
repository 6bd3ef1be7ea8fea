"""From whatever a file stores (grey, palette, alpha, CMYK, Lab, float) to RGB; between profiles, depths and light."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from cliplit.photos.profiles import read_profile, srgb_curve, srgb_linear

_WIDE = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_WITH_ALPHA = {"LA", "PA", "RGBA", "La", "RGBa"}


def rgb_profile(icc: bytes | None) -> bytes | None:
    """``icc`` if it is a profile for RGB pixels, else None: after conversion to RGB another one would be wrong."""
    return icc if _colour_space(icc) == b"RGB " else None


def to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """8-bit RGB over white; RGB profiles are not applied, those of other colour spaces are (the result is sRGB)."""
    image = with_alpha(image, icc)
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def with_alpha(image: Image.Image, icc: bytes | None) -> Image.Image:
    """As ``to_rgb``, but RGBA where the image has alpha or a transparent colour."""
    if image.mode in _WIDE:
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode == "1":
        image = image.convert("L")
    if image.mode == "La":
        image = image.convert("LA")
    grey = _colour_space(icc) == b"GRAY"
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        if grey and image.mode in {"L", "LA"}:
            alpha = layer.getchannel("A")
            layer = _described(image.convert("L"), icc)
            layer.putalpha(alpha)
        return layer
    if image.mode == "LAB":
        return _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    expected = {"CMYK": b"CMYK", "L": b"GRAY"}.get(image.mode)
    return _described(image, icc if _colour_space(icc) == expected else None)


def to_srgb_pixels(pixels: NDArray[Any], icc: bytes) -> NDArray[Any]:
    """uint8 or uint16 HxWx3 coded in the profile ``icc`` -> sRGB; a profile that cannot be used is taken for sRGB."""
    if pixels.dtype == np.uint16:
        return _deep_transform(pixels, icc)
    try:
        return np.array(_transform(Image.fromarray(pixels), ImageCms.ImageCmsProfile(io.BytesIO(icc))))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return pixels


def to_linear(values: NDArray[np.floating[Any]], icc: bytes | None) -> NDArray[np.float32]:
    """Float H x W x 3 as a float TIFF has it, in the profile ``icc`` -> scene-linear with Rec. 709's primaries.

    Without a profile they are that already, as with one that cannot be used. Above 1, where a profile's tone curve
    ends, a gamma of 2.2 goes on. NaN becomes 0 and infinity the largest finite value of the photo.
    """
    light = finite(values)
    profile = read_profile(icc) if icc is not None and rgb_profile(icc) else None
    if profile is None:
        return light
    if not profile.is_linear:
        codes = np.linspace(0, 1, 65536)
        for channel, curve in enumerate(profile.curves):
            plane = light[..., channel]
            size = np.abs(plane)
            bent = np.where(size <= 1, np.interp(size, codes, curve), np.maximum(size, 1) ** 2.2)
            light[..., channel] = np.copysign(bent, plane)
    matrix = profile.to_rec709
    return light if matrix is None else (light @ matrix.T.astype(np.float32))


def finite(values: NDArray[Any]) -> NDArray[np.float32]:
    """A float32 copy in which NaN is 0 and both infinities are the largest finite value with their sign."""
    light = values.astype(np.float32)
    good = np.isfinite(light)
    if not good.all():
        largest = float(np.abs(light[good]).max(initial=1.0))
        light = np.nan_to_num(light, nan=0.0, posinf=largest, neginf=-largest)
    return light


def light_of_codes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """uint8 or uint16 sRGB-coded pixels -> scene-linear float32, 0..1."""
    full = np.iinfo(pixels.dtype).max
    table = srgb_linear(np.arange(full + 1) / full)
    return table[pixels]


def codes_of_light(light: NDArray[np.float32], dtype: type[np.uint8] | type[np.uint16]) -> NDArray[Any]:
    """Scene-linear float32 -> sRGB-coded whole numbers; what is below 0 or above 1 is clipped."""
    result: NDArray[Any] = np.round(srgb_curve(light) * np.float32(np.iinfo(dtype).max)).astype(dtype)
    return result


def to_eight(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16 bits rounded to 8, row by row to need little memory."""
    result = np.empty(values.shape, np.uint8)
    for row, source in zip(result, values, strict=True):
        row[...] = (source.astype(np.uint32) + 128) // 257
    return result


def over_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """uint8 or uint16 ``pixels`` laid over white by ``alpha`` of the same type."""
    full = np.uint32(np.iinfo(pixels.dtype).max)
    share = alpha.astype(np.uint32)[..., None]
    mixed = pixels.astype(np.uint64) * share + np.uint64(full) * (full - share)
    result: NDArray[Any] = ((mixed + full // 2) // full).astype(pixels.dtype)
    return result


def _described(image: Image.Image, icc: bytes | None) -> Image.Image:
    """RGB of an image by its profile ``icc`` (None, or one that is damaged: by the usual formula)."""
    if icc is not None and image.mode in {"CMYK", "L"}:
        try:
            return _transform(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile is no reason to refuse the photo
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(image, profile, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    assert converted is not None  # None only when working in place
    return converted


def _deep_transform(pixels: NDArray[np.uint16], icc: bytes) -> NDArray[np.uint16]:
    import imagecodecs  # here, because it takes a while and few photos need it; Pillow's ImageCms knows 8 bits only

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    try:
        converted: NDArray[np.uint16] = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels), icc, srgb, colorspace="rgb", outcolorspace="rgb"
        )
    except (imagecodecs.CmsError, ValueError):
        return pixels
    return converted


def _colour_space(icc: bytes | None) -> bytes | None:
    """The colour space field of an ICC header; None without a valid header."""
    if icc is None or len(icc) < 132 or icc[36:40] != b"acsp":
        return None
    return icc[16:20]


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """One channel of 16-bit, 32-bit or float samples -> 0..255, scaled by the range that the samples are in."""
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=np.inf, neginf=0.0)
    finite = wide[np.isfinite(wide)]
    peak = float(finite.max()) if finite.size else 0.0
    if np.issubdtype(values.dtype, np.floating):
        full = next((full for full in (1.0, 255.0, 65535.0) if peak <= full), peak)
    else:
        full = 65535.0 if peak <= 65535.0 else peak
    return (np.clip(wide / full, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
