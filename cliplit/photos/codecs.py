"""Reading and writing photo files: whatever is decoded from outside goes through here.

A file's kind is told from its content, only the kinds in photo.py are tried, a pixel cap is checked before anything is
decoded, and every failure is a PhotoError. A photo is read upright, as RGB in its own colour profile and depth; what is
written back keeps depth, alpha, EXIF, XMP and profile as far as the format can (docs/formats.md has the table).
"""

from __future__ import annotations

import errno
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from cliplit.errors import PhotoError
from cliplit.files import atomic_path
from cliplit.photos import hdr, pillow_files, png16, raw, tiff
from cliplit.photos.colour import codes_of_light, light_of_codes, over_white, to_eight, to_srgb_pixels
from cliplit.photos.listing import list_files, list_photos
from cliplit.photos.photo import (
    DEFAULT_MAX_PIXELS,
    HEAD,
    KINDS,
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    WRITTEN,
    Photo,
    Pixels,
    Source,
    kind_of,
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "PHOTO_SUFFIXES",
    "WRITTEN",
    "Photo",
    "Pixels",
    "decode_photo",
    "eight_bit",
    "encode_photo",
    "list_files",
    "list_photos",
    "read_photo",
    "save_jpeg",
    "save_png",
    "suffix_to_write",
    "to_srgb",
    "write_photo",
]

_OPAQUE = {"JPEG", "BMP", "HDR"}  # without alpha
_LIGHT = {"EXR", "HDR"}  # scene-linear only


def read_photo(path: Path | str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """Read a photo of any listed kind, upright, in its own depth and profile; raises PhotoError."""
    path = Path(path)
    try:
        if not path.is_file():
            raise PhotoError(path, "this is not a file" if path.exists() else "there is no such file; check the name")
        if path.stat().st_size == 0:
            raise PhotoError(path, "the file is empty (0 bytes); copy it again from its source")
        with path.open("rb") as file:
            return replace(_decoded(Source(file, path, max_pixels), path.suffix.lower()), path=path)
    except PermissionError:
        raise PhotoError(path, "reading it is not allowed; change its permissions") from None
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long or holds a zero byte
        raise PhotoError(path, f"it cannot be opened ({_said(error)}); check the name") from None


def decode_photo(data: bytes, name: str = "the photo", max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The photo in ``data``, as ``read_photo`` reads it from a file called ``name``; raises PhotoError."""
    if not data:
        raise PhotoError(name, "there are 0 bytes; send it again")
    return _decoded(Source(io.BytesIO(data), name, max_pixels), Path(name).suffix.lower())


def write_photo(photo: Photo, path: Path | str, overwrite: bool = False, quality: int | None = None) -> None:
    """Write ``photo`` atomically in the format of ``path``'s suffix, with what goes with it; raises PhotoError.

    ``quality`` is as for ``encode_photo``.
    """
    path = Path(path)
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        known = " ".join(sorted(WRITTEN))
        raise PhotoError(path, f"the ending '{path.suffix}' names no format that cliplit writes; use one of {known}")
    if not overwrite and os.path.lexists(path):
        raise PhotoError(path, "exists already; choose another name or say --overwrite")
    _save(path, encode_photo(replace(photo, path=path), kind, quality))


def encode_photo(photo: Photo, format: str | None = None, quality: int | None = None) -> bytes:
    """``photo`` as the bytes of a file of the kind ``format`` ("JPEG", "PNG", ...); raises PhotoError.

    None is the photo's own kind, and TIFF for one that came from a RAW file. Formats of 8 bits get 8 bits, those
    without alpha get the photo laid over white, and scene-linear photos are clipped to 0..1 and coded in sRGB's curve
    for all but TIFF, OpenEXR and Radiance. ``quality``, 1 to 100, is for JPEG, WebP, AVIF and HEIF.
    """
    kind = format or ("TIFF" if photo.format == "RAW" else photo.format)
    if kind not in WRITTEN.values():
        known = ", ".join(sorted(set(WRITTEN.values())))
        raise PhotoError(photo.path or "the photo", f"'{kind}' is no format that cliplit writes; use one of {known}")
    try:
        return _encoded(photo, kind, quality)
    except Exception as error:  # encoders raise almost any type for metadata or sizes that they cannot store
        raise PhotoError(photo.path or "the photo", f"not written ({_said(error)})") from None


def eight_bit(photo: Photo) -> Photo:
    """``photo`` as uint8 without alpha, for training and pictures: over white; linear light clipped and sRGB-coded."""
    return _flat(_shallow(photo))


def to_srgb(photo: Photo) -> Photo:
    """The photo coded in sRGB without a profile (perceptual intent); linear light becomes 16 bits, clipped to 0..1."""
    if photo.linear:
        return _coded(photo)
    return photo if photo.icc is None else replace(photo, pixels=to_srgb_pixels(photo.pixels, photo.icc), icc=None)


def suffix_to_write(path: Path | str) -> str:
    """The suffix for what becomes of the photo ``path``: its own, or .tif for a RAW file."""
    suffix = Path(path).suffix
    return ".tif" if suffix.lower() in RAW_SUFFIXES else suffix


def save_jpeg(path: Path | str, pixels: NDArray[np.uint8], quality: int = 95) -> None:
    """Write sRGB uint8 HxWx3 as a JPEG without metadata, 4:4:4, atomically, over what is there; raises PhotoError."""
    _save(Path(path), pillow_files.write(Photo(pixels), "JPEG", quality))


def save_png(path: Path | str, pixels: NDArray[np.uint8]) -> None:
    """Write sRGB uint8 HxWx3 as a PNG without metadata, atomically, over what is there; raises PhotoError."""
    _save(Path(path), pillow_files.write(Photo(pixels), "PNG"))


def _decoded(source: Source, suffix: str) -> Photo:
    """The photo in ``source``; whatever a decoder raises becomes one sentence."""
    try:
        head = source.file.read(HEAD)
        kind = kind_of(head)
        if kind is None:
            raise source.refused(f"this is not a photo in a format that cliplit reads ({KINDS})")
        return _with_decoder(source, kind, head, suffix)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise source.refused("damaged or truncated (its head cannot be read); copy it again from its source") from None
    except MemoryError:
        raise source.refused("not enough memory to decode it; make it smaller first") from None
    except Exception as error:  # decoders answer damaged files with almost any exception type
        raise source.refused(f"damaged or truncated ({_said(error)}); copy it again from its source") from None


def _with_decoder(source: Source, kind: str, head: bytes, suffix: str) -> Photo:
    if kind == "TIFF" and (suffix in RAW_SUFFIXES or tiff.is_raw(source)):
        kind = "RAW"
    if kind == "RAW":
        return raw.read(source)
    if kind == "TIFF":
        return tiff.read(source)
    if kind == "EXR":
        return hdr.read_exr(source)
    if kind == "HDR":
        return hdr.read_radiance(source)
    if kind == "PNG" and png16.is_deep(head):
        return png16.read(source)
    return pillow_files.read(source, kind)


def _encoded(photo: Photo, kind: str, quality: int | None) -> bytes:
    if kind in _LIGHT:
        light = photo if photo.linear else _lit(photo)
        return hdr.write_exr(light) if kind == "EXR" else hdr.write_radiance(light)
    if kind == "TIFF":
        return tiff.write(photo)
    if kind == "PNG":
        coded = _coded(photo)
        return pillow_files.write(coded, kind) if coded.pixels.dtype == np.uint8 else png16.write(coded)
    shallow = _shallow(photo)
    if kind == "BMP":  # holds no profile
        shallow = to_srgb(shallow)
    options = {} if quality is None or kind == "BMP" else {"quality": quality}
    return pillow_files.write(_flat(shallow) if kind in _OPAQUE else shallow, kind, **options)


def _coded(photo: Photo) -> Photo:
    """Linear light as 16-bit sRGB; other photos as they are."""
    if not photo.linear:
        return photo
    alpha = None if photo.alpha is None else np.round(np.clip(photo.alpha, 0, 1) * 65535).astype(np.uint16)
    return replace(photo, pixels=codes_of_light(photo.pixels, np.uint16), alpha=alpha, linear=False, icc=None)


def _lit(photo: Photo) -> Photo:
    """A photo in sRGB or another profile as scene-linear light."""
    srgb = to_srgb(photo)
    alpha = None
    if photo.alpha is not None:
        alpha = photo.alpha.astype(np.float32) / np.iinfo(photo.alpha.dtype).max
    light = light_of_codes(srgb.pixels)
    return replace(srgb, pixels=light if alpha is None else light * alpha[..., None], alpha=alpha, linear=True)


def _shallow(photo: Photo) -> Photo:
    coded = _coded(photo)
    if coded.pixels.dtype == np.uint8:
        return coded
    alpha = None if coded.alpha is None else to_eight(coded.alpha)
    return replace(coded, pixels=to_eight(coded.pixels), alpha=alpha)


def _flat(photo: Photo) -> Photo:
    if photo.alpha is None:
        return photo
    return replace(photo, pixels=over_white(photo.pixels, photo.alpha), alpha=None)


def _save(path: Path, encoded: bytes) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded)
    except OSError as error:
        raise PhotoError(path, _why_not_written(error)) from None


def _said(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(said.split())[:300] or type(error).__name__


def _why_not_written(error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "not written, no space left on the disk; free some and run it again"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not written, writing there is not allowed; choose another folder"
    return f"not written ({_said(error)})"
