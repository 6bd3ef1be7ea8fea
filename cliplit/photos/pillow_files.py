"""Photo files of 8 bits through Pillow: JPEG, PNG, WebP, TIFF, BMP, AVIF, and HEIC where pillow-heif is installed."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from cliplit.photos.colour import rgb_profile, with_alpha
from cliplit.photos.exif import ORIENTATION, TIFF_XMP, portable_exif, upright_exif, upright_xmp
from cliplit.photos.photo import Photo, Source

_BAND = 256  # rows

# No optimize and no progressive: with them libjpeg needs one buffer for the whole file, and Pillow's guess of its
# size (ImageFile.MAXBLOCK) is too small for a noisy photo at 4:4:4 ("Suspension not allowed here").
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"quality": 95, "method": 4},
    "BMP": {},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "HEIF": {"quality": 90, "chroma": 444},
}
_PNG_XMP = "XML:com.adobe.xmp"
_ANIMATED = {"PNG", "WEBP", "AVIF"}
_MOST_METADATA = 65_502  # bytes of EXIF or XMP that fit into one segment of a JPEG
_HEIF_MISSING = 'HEIC files need an extra library; run: pip install "cliplit[heif]"'
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow_limit = threading.Lock()


def read(source: Source, kind: str) -> Photo:
    """The photo in ``source``, a file of ``kind``; raises PhotoError and whatever Pillow raises for damaged files."""
    with opened(source, kind) as image:
        if kind in _ANIMATED and getattr(image, "n_frames", 1) > 1:
            frames = f"an animation of {image.n_frames} frames"  # type: ignore[attr-defined]
            raise source.refused(f"{frames}, not a photo; save the one that you want as a picture of its own")
        image.load()
        described = metadata(image, kind)
        orientation = tags_of(image).get(ORIENTATION, 1)
        icc = image.info.get("icc_profile") or None
        upright = with_alpha(image, icc)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    alpha = np.array(upright.getchannel("A")) if upright.mode == "RGBA" else None
    pixels = _array(upright.convert("RGB") if upright.mode == "RGBA" else upright)
    return replace(described, pixels=pixels, alpha=alpha)


def _array(image: Image.Image) -> NDArray[np.uint8]:
    """H x W x 3 of an RGB image, band by band: NumPy's own way through Pillow holds it four times at once."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND):
        bottom = min(height, top + _BAND)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


@contextmanager
def opened(source: Source, kind: str) -> Iterator[Image.Image]:
    """The Pillow image of a file of ``kind`` whose size is allowed; nothing but its head is decoded yet."""
    source.file.seek(0)
    with _own_pixel_cap():
        image = _open_heif(source) if kind == "HEIF" else Image.open(source.file, formats=_plugins(source, kind))
    with image:
        source.allow(*image.size)
        yield image


def tags_of(image: Image.Image) -> Image.Exif:
    """The EXIF of an image; empty where it is damaged, which is no reason to refuse pixels that are whole."""
    try:
        return image.getexif()
    except Exception:  # Pillow raises many types
        return Image.Exif()


def metadata(image: Image.Image, kind: str) -> Photo:
    """What goes with the pixels of a loaded image, as a photo of one black pixel."""
    if kind == "TIFF":
        exif, xmp = portable_exif(tags_of(image)), image.tag_v2.get(TIFF_XMP)  # type: ignore[attr-defined]
    else:
        exif, xmp = image.info.get("exif"), image.info.get("xmp", image.info.get(_PNG_XMP))
        if exif is None and kind == "PNG" and len(tags := tags_of(image)):
            exif = tags.tobytes()  # older programs write it as text
    icc = rgb_profile(image.info.get("icc_profile") or None)
    return Photo(np.zeros((1, 1, 3), np.uint8), kind, upright_exif(exif), icc, xmp=upright_xmp(xmp))


def write(photo: Photo, kind: str, quality: int | None = None) -> bytes:
    """The bytes of a file of ``kind`` with the photo, which is of 8 bits; raises what encoders raise."""
    options = dict(_SAVE_OPTIONS[kind])
    if quality is not None and "quality" in options:
        options["quality"] = quality
    if kind != "BMP":
        options |= {"exif": photo.exif} if photo.exif else {}
        options |= {"icc_profile": photo.icc} if photo.icc else {}
        options |= _xmp_option(photo.xmp, kind) if photo.xmp else {}
    if kind == "JPEG":
        for name, data in (("EXIF", photo.exif), ("XMP", photo.xmp)):
            if data is not None and len(data) > _MOST_METADATA:
                raise ValueError(f"{len(data) // 1000} kB of {name} do not fit into a JPEG; write .png or .webp")
    pixels: NDArray[np.uint8] = np.ascontiguousarray(photo.pixels)
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    image = Image.fromarray(pixels)
    encoded = io.BytesIO()
    if kind == "HEIF":
        _heif().from_pillow(image).save(encoded, **options)
    else:
        image.save(encoded, kind, **options)
    return encoded.getvalue()


def _xmp_option(xmp: bytes, kind: str) -> dict[str, Any]:
    if kind != "PNG":
        return {"xmp": xmp}
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt(_PNG_XMP, xmp.decode("utf-8", "replace"))
    return {"pnginfo": chunks}


def _plugins(source: Source, kind: str) -> list[str]:
    if kind == "AVIF" and not features.check("avif"):
        raise source.refused("this Pillow was built without AVIF; install Pillow's own wheel (pip install -U pillow)")
    return ["JPEG", "MPO"] if kind == "JPEG" else [kind]


def _open_heif(source: Source) -> Image.Image:
    try:
        library = _heif()
    except ModuleNotFoundError:
        raise source.refused(_HEIF_MISSING) from None
    container = library.open_heif(source.file)
    source.allow(*container.size)
    if container.mimetype in {"image/heic-sequence", "image/heif-sequence"}:
        raise source.refused("a sequence of pictures, not a photo; save the one that you want as a picture of its own")
    return container.to_pillow()


def _heif() -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise ModuleNotFoundError(_HEIF_MISSING) from None
    return pillow_heif


@contextmanager
def _own_pixel_cap() -> Iterator[None]:
    """Opening reads headers only; Pillow's own limit is off meanwhile, so that exactly ``max_pixels`` decides."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
