"""From whatever a file stores (grey, palette, alpha, CMYK, Lab, 16 bit, float) to 8-bit RGB; and from ICC to sRGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_WIDE = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


def rgb_profile(icc: bytes | None) -> bytes | None:
    """``icc`` if it is a profile for RGB pixels, else None: after conversion to RGB another one would be wrong."""
    return icc if _colour_space(icc) == b"RGB " else None


def to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """8-bit RGB; RGB profiles are not applied, those of other colour spaces are (the result is then sRGB)."""
    if image.mode in _WIDE:
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in {"LA", "PA", "RGBA", "La", "RGBa"} or "transparency" in image.info:
        image = _over_white(image)
    if image.mode == "LAB":
        return _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    expected = {"CMYK": b"CMYK", "L": b"GRAY"}.get(image.mode)
    if icc is not None and expected is not None and _colour_space(icc) == expected:
        try:
            return _transform(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile is no reason to refuse the photo
    return image.convert("RGB")


def to_srgb_pixels(pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
    """uint8 HxWx3 coded in the profile ``icc`` -> sRGB; a profile that cannot be used is taken for sRGB."""
    try:
        return np.array(_transform(Image.fromarray(pixels), ImageCms.ImageCmsProfile(io.BytesIO(icc))))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return pixels


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(image, profile, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    assert converted is not None  # None only when working in place
    return converted


def _colour_space(icc: bytes | None) -> bytes | None:
    """The colour space field of an ICC header; None without a valid header."""
    if icc is None or len(icc) < 132 or icc[36:40] != b"acsp":
        return None
    return icc[16:20]


def _over_white(image: Image.Image) -> Image.Image:
    """Alpha composited over white, as viewers show it."""
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


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
