"""Reading and writing photo files: whatever is decoded from outside goes through here.

A photo is read as upright 8-bit RGB in its own colour profile; what is written back keeps EXIF and ICC. Only listed
formats are tried, a pixel cap is checked before anything is decoded, and every failure is a PhotoError.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from cliplit.errors import PhotoError
from cliplit.files import atomic_path
from cliplit.photos.colour import rgb_profile, to_rgb, to_srgb_pixels
from cliplit.photos.exif import ORIENTATION, portable_exif, tiff_exif, upright_exif

DEFAULT_MAX_PIXELS = 200_000_000
Pixels = NDArray[Any]  # uint8, uint16 or float32, H x W x 3

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    **({".avif": "AVIF"} if features.check("avif") else {}),
}
PHOTO_SUFFIXES = frozenset(_FORMATS)
_ALLOWED = sorted(set(_FORMATS.values()))

# No optimize and no progressive: with them libjpeg needs one buffer for the whole file, and Pillow's guess of its
# size (ImageFile.MAXBLOCK) is too small for a noisy photo at 4:4:4 ("Suspension not allowed here").
_SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_deflate"},
    "BMP": {},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
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


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo: ``pixels`` are H x W x 3, ``exif`` and ``xmp`` say orientation 1.

    uint8 and uint16 pixels are coded in the RGB profile ``icc`` (None: sRGB) over their whole range. ``linear`` pixels
    are float32 and scene-linear, 1.0 is diffuse white and more is allowed; their primaries are Rec. 709's or those of
    ``icc``. ``alpha`` is H x W, 0 transparent; pixels are not multiplied by it (but in OpenEXR, which defines it so).
    """

    pixels: Pixels
    format: str = "JPEG"
    exif: bytes | None = None
    icc: bytes | None = None
    path: Path | None = None
    linear: bool = False
    xmp: bytes | None = None
    alpha: NDArray[Any] | None = None


def read_photo(path: Path | str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """Read a photo of any listed format, upright, as 8-bit RGB in its own profile; raises PhotoError."""
    path = Path(path)
    if not path.is_file():
        raise PhotoError(path, "this is not a file" if path.exists() else "there is no such file; check the name")
    try:
        if path.stat().st_size == 0:
            raise PhotoError(path, "the file is empty (0 bytes); copy it again from its source")
        with path.open("rb") as file:
            return _decode(path, file, max_pixels)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        reason = f"this is not a photo in a format that cliplit reads ({', '.join(_ALLOWED)})"
        raise PhotoError(path, reason) from None
    except MemoryError:
        raise PhotoError(path, "not enough memory to decode it; make it smaller first") from None
    except PermissionError:
        raise PhotoError(path, "reading it is not allowed; change its permissions") from None
    except Exception as error:  # decoders answer damaged files with almost any exception type
        detail = " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(path, f"damaged or truncated ({detail}); copy it again from its source") from None


def decode_photo(data: bytes, name: str = "the photo", max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """The photo in ``data``, as ``read_photo`` reads a file; ``name`` stands in the PhotoError."""
    if not data:
        raise PhotoError(name, "there are 0 bytes; send it again")
    try:
        return replace(_decode(Path(name), io.BytesIO(data), max_pixels), path=None)
    except PhotoError:
        raise
    except Exception as error:
        raise PhotoError(name, f"damaged ({' '.join(str(error).split())}); copy it again from its source") from None


def encode_photo(photo: Photo, format: str | None = None, quality: int | None = None) -> bytes:
    """``photo`` as the bytes of a file in ``format`` ("JPEG", "PNG", ...; None: its own), with its EXIF and ICC."""
    kind = format or photo.format
    options = _save_options(kind, quality)
    options |= {"exif": photo.exif} if photo.exif and kind != "BMP" else {}
    options |= {"icc_profile": photo.icc} if photo.icc else {}
    encoded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(eight_bit(photo).pixels)).save(encoded, kind, **options)
    return encoded.getvalue()


def eight_bit(photo: Photo) -> Photo:
    """``photo`` as uint8 without alpha, for training: laid over white, linear light coded in sRGB's curve."""
    if photo.pixels.dtype == np.uint16:
        return replace(photo, pixels=((photo.pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    return photo


def write_photo(photo: Photo, path: Path | str, overwrite: bool = False, quality: int | None = None) -> None:
    """Write ``photo`` atomically in the format of ``path``'s suffix, with its EXIF and ICC; raises PhotoError.

    ``quality`` is 1 to 100, for formats that lose something.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        known = " ".join(sorted(PHOTO_SUFFIXES))
        raise PhotoError(path, f"the ending '{path.suffix}' names no format that cliplit writes; use one of {known}")
    if kind == "BMP":  # holds neither EXIF nor a profile
        photo = replace(to_srgb(photo), exif=None)
    exif = tiff_exif(photo.exif) if kind == "TIFF" and photo.exif else photo.exif
    options = _save_options(kind, quality)
    options |= {"exif": exif} if exif else {}
    options |= {"icc_profile": photo.icc} if photo.icc else {}
    if kind == "TIFF" and exif:
        options["compression"] = "raw"  # Pillow's compressing TIFF writer refuses EXIF folders
    if kind == "JPEG" and photo.exif is not None and len(photo.exif) > 65533:
        raise PhotoError(path, f"{len(photo.exif) // 1000} kB of EXIF do not fit into a JPEG; write .png or .webp")
    if not overwrite and os.path.lexists(path):
        raise PhotoError(path, "exists already; choose another name or say --overwrite")
    _save(path, photo.pixels, kind, options)


def _save_options(kind: str, quality: int | None) -> dict[str, object]:
    options = dict(_SAVE_OPTIONS[kind])
    return options | {"quality": quality} if quality is not None and "quality" in options else options


def save_jpeg(path: Path | str, pixels: Pixels, quality: int = 95) -> None:
    """Write sRGB uint8 HxWx3 as a JPEG without metadata, 4:4:4, atomically, over what is there; raises PhotoError."""
    _save(Path(path), pixels, "JPEG", {"quality": quality, "subsampling": 0})


def save_png(path: Path | str, pixels: Pixels) -> None:
    """Write sRGB uint8 HxWx3 as a PNG without metadata, atomically, over what is there; raises PhotoError."""
    _save(Path(path), pixels, "PNG", {})


def to_srgb(photo: Photo) -> Photo:
    """The photo with its pixels converted from its profile to sRGB (perceptual intent) and no profile left."""
    if photo.icc is None:
        return photo
    return replace(photo, pixels=to_srgb_pixels(photo.pixels, photo.icc), icc=None)


def list_photos(folder: Path | str) -> list[Path]:
    """Photos below ``folder`` by suffix, sorted; hidden files and folders are skipped, links are followed once."""
    return [path for path in list_files(folder) if path.suffix.lower() in PHOTO_SUFFIXES]


def list_files(folder: Path | str) -> list[Path]:
    """All files below ``folder`` that are not hidden, sorted; a linked folder is entered at most once."""
    folder = Path(folder)
    found: list[Path] = []
    entered: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = Path(parent).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".") and Path(parent, name).is_file()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _decode(path: Path, file: BinaryIO, max_pixels: int) -> Photo:
    with _own_pixel_cap():
        image = Image.open(file, formats=_ALLOWED)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            megapixels, cap = width * height / 1e6, max_pixels / 1e6
            raise PhotoError(path, f"{megapixels:.0f} megapixels are more than the {cap:.0f} allowed; make it smaller")
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        image.load()
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        raw = portable_exif(exif) if kind == "TIFF" else image.info.get("exif")
        icc = image.info.get("icc_profile") or None
        rgb = to_rgb(image, icc)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return Photo(np.array(rgb, dtype=np.uint8), kind, upright_exif(raw), rgb_profile(icc), path)


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


def _save(path: Path, pixels: Pixels, kind: str, options: dict[str, object]) -> None:
    """Encode in memory first: Pillow hides the reason (disk full) when it writes to a file itself."""
    try:
        encoded = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, kind, **options)
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded.getbuffer())
    except Exception as error:  # encoders raise almost any type for metadata that they cannot store
        raise PhotoError(path, _why_not_written(error)) from None


def _why_not_written(error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "not written, no space left on the disk; free some and run it again"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not written, writing there is not allowed; choose another folder"
    return f"not written ({' '.join(str(error).split()) or type(error).__name__})"
