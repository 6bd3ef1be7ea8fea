"""TIFF through tifffile: what Pillow does not read (16 bit, float) and everything that is written."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cliplit.photos import pillow_files
from cliplit.photos.colour import rgb_profile, to_linear, to_rgb
from cliplit.photos.exif import (
    DESCRIPTIVE,
    ORIENTATION,
    SUB_FOLDERS,
    TIFF_XMP,
    portable_exif,
    upright_exif,
    upright_xmp,
)
from cliplit.photos.photo import Photo, Source
from cliplit.photos.upright import upright

_ICC = 34675
_GREY_INVERTED, _GREY, _RGB, _CMYK = 0, 1, 2, 5
_RAW_PHOTOMETRIC = {32803, 34892}  # a colour filter array, LinearRaw
_DNG_VERSION = 50706
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MOST_SAMPLES = 8
_PLACEHOLDER = -1  # tifffile writes no tags that point at folders, so their neighbours keep their places


def is_raw(source: Source) -> bool:
    """Whether a TIFF holds a camera's unprocessed pixels; its first picture is then a small preview at best."""
    import tifffile

    source.file.seek(0)
    with _quiet(), tifffile.TiffFile(source.file) as tiff:
        first: Any = tiff.pages[0]
        pages = [first, *(first.pages or [])]
        return _DNG_VERSION in first.tags or any(int(page.photometric) in _RAW_PHOTOMETRIC for page in pages)


def is_cut(source: Source) -> bool:
    """Whether pixels of a TIFF lie beyond the end of the file; LibRaw takes them for black."""
    import tifffile

    size = source.file.seek(0, io.SEEK_END)
    source.file.seek(0)
    with _quiet(), tifffile.TiffFile(source.file) as tiff:
        first: Any = tiff.pages[0]
        parts = [(page.dataoffsets, page.databytecounts) for page in (first, *(first.pages or []))]
    return any(
        start + length > size for starts, lengths in parts for start, length in zip(starts, lengths, strict=False)
    )


def read(source: Source) -> Photo:
    """The photo in a TIFF: uint8, uint16 (also for 9 to 32 bits of whole numbers) or linear float32."""
    import tifffile

    source.file.seek(0)
    with _quiet(), tifffile.TiffFile(source.file) as tiff:
        every: list[Any] = list(tiff.pages)
        pages = [page for page in every if not int(page.subfiletype) & (_REDUCED | _MASK)] or every[:1]
        if len(pages) > 1:
            pictures = f"{len(pages)} pages"
            raise source.refused(f"a TIFF of {pictures}; save the page that you want as a file of its own")
        page = pages[0]
        source.allow(page.imagewidth, page.imagelength)
        if page.is_tiled:
            source.allow(page.tilewidth, page.tilelength)
        if page.samplesperpixel > _MOST_SAMPLES or page.imagedepth != 1:
            raise source.refused(f"{page.samplesperpixel} channels are not a photo; export it as RGB")
        if page.bitspersample <= 8 and page.dtype is not None and page.dtype.kind in "bu":
            return pillow_files.read(source, "TIFF")
        return _deep(source, page)


def write(photo: Photo) -> bytes:
    """A TIFF with the photo as it is, deflated without loss, with EXIF, GPS, XMP and profile."""
    import tifffile

    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    exif = _parsed(photo.exif)
    folders = {tag: folder for tag in SUB_FOLDERS if (folder := exif.get_ifd(tag))}
    extra: list[tuple[Any, ...]] = [
        (tag, 2, 0, value, True) for tag in DESCRIPTIVE if isinstance(value := exif.get(tag), str)
    ]
    extra += [(TIFF_XMP, 1, len(photo.xmp), photo.xmp, True)] if photo.xmp else []
    extra += [(tag + _PLACEHOLDER, 4, 1, 0, True) for tag in folders]
    encoded = io.BytesIO()
    tifffile.imwrite(
        encoded,
        np.ascontiguousarray(pixels),
        photometric="rgb",
        extrasamples=None if photo.alpha is None else ["assocalpha" if photo.linear else "unassalpha"],
        compression="adobe_deflate",
        predictor=True,
        rowsperstrip=max(1, 2**20 // (pixels.shape[1] * pixels.shape[2] * pixels.itemsize)),
        metadata=None,
        software=False,
        byteorder="<",
        iccprofile=linear_profile() if photo.linear else photo.icc,
        extratags=extra,
    )
    for tag, folder in folders.items():
        _append_folder(encoded, tag, folder)
    return encoded.getvalue()


def exif_of_tiff(source: Source) -> Image.Exif:
    """The tags of a TIFF's first picture; empty where they are damaged."""
    exif = Image.Exif()
    source.file.seek(0)
    with contextlib.suppress(Exception):  # damaged tags are no reason to refuse pixels that are whole
        exif.load_from_fp(source.file)
    return exif


def linear_profile() -> bytes:
    """An ICC profile for linear light with Rec. 709's primaries."""
    import imagecodecs

    primaries = [0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1]
    profile: bytes = imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.3290, 1], primaries=primaries, gamma=1.0)
    return profile


def _deep(source: Source, page: Any) -> Photo:
    photometric = int(page.photometric)
    if photometric not in (_GREY_INVERTED, _GREY, _RGB, _CMYK):
        name = getattr(page.photometric, "name", photometric)
        raise source.refused(f"a TIFF of {page.bitspersample} bits in {name}, which cliplit does not read; export RGB")
    stored = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        stored = np.moveaxis(stored, 0, -1)
    elif page.axes == "YX":
        stored = stored[..., None]
    elif page.axes != "YXS":
        raise source.refused(f"a TIFF with the axes {page.axes}, not a photo; export it as RGB")
    values = stored if stored.dtype.kind == "f" else _sixteen(stored, page.bitspersample)
    if photometric == _GREY_INVERTED:
        values = (1 if values.dtype.kind == "f" else 65535) - values
    tags = exif_of_tiff(source)
    profile = tags.get(_ICC)
    icc = profile if isinstance(profile, bytes) else None
    colours = {_RGB: 3, _CMYK: 4}.get(photometric, 1)
    if values.shape[2] < colours:
        raise source.refused("damaged (channels are missing); copy it again from its source")
    extra = [int(sample) for sample in page.extrasamples]
    alpha = values[..., colours] if values.shape[2] > colours and extra and extra[0] in (1, 2) else None
    photo = _coloured(values[..., :colours], photometric, icc)
    if alpha is not None and extra[0] == 1 and not photo.linear:
        photo = replace(photo, pixels=_divided(photo.pixels, alpha))
    turn = tags.get(ORIENTATION, 1)
    return replace(
        photo,
        pixels=upright(photo.pixels, turn),
        alpha=None if alpha is None else upright(alpha.astype(photo.pixels.dtype), turn),
        exif=upright_exif(portable_exif(tags)),
        xmp=upright_xmp(tags.get(TIFF_XMP)),
    )


def _coloured(values: NDArray[Any], photometric: int, icc: bytes | None) -> Photo:
    """uint16 or float values of 1, 3 or 4 channels as RGB."""
    if photometric == _CMYK:
        if values.dtype.kind == "f":
            values = np.clip(np.nan_to_num(values) * 65535, 0, 65535)
        inks = Image.frombytes("CMYK", values.shape[1::-1], (values // 257).astype(np.uint8).tobytes())
        return Photo(np.array(to_rgb(inks, icc)).astype(np.uint16) * np.uint16(257), "TIFF")
    rgb = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    if values.dtype.kind == "f":
        return Photo(to_linear(rgb, icc), "TIFF", linear=True)
    return Photo(np.ascontiguousarray(rgb), "TIFF", icc=rgb_profile(icc))


def _sixteen(values: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Whole numbers of 9 to 64 bits over 0..65535; 32 bits and more by the range that they are in."""
    if values.dtype == np.uint16 and bits == 16:
        return values
    positive = np.maximum(values, 0)
    full = 2**bits - 1 if bits <= 16 else max(65535, int(positive.max(initial=0)))
    return np.round(positive * (65535 / full)).clip(0, 65535).astype(np.uint16)


def _divided(pixels: NDArray[np.uint16], alpha: NDArray[np.uint16]) -> NDArray[np.uint16]:
    share = np.maximum(alpha, 1).astype(np.float32)[..., None] / 65535
    return np.minimum(np.round(pixels / share), 65535).astype(np.uint16)


def _parsed(exif: bytes | None) -> Image.Exif:
    parsed = Image.Exif()
    if exif:
        parsed.load(exif)
    return parsed


def _append_folder(file: io.BytesIO, tag: int, folder: dict[int, Any]) -> None:
    """Write ``folder`` at the end of a little-endian TIFF and let the entry ``tag`` of its first page point at it."""
    data = file.getbuffer()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = range(start + 2, start + 2 + 12 * count, 12)
    entry = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == tag + _PLACEHOLDER)
    end = (len(data) + 1) // 2 * 2
    struct.pack_into("<HHII", data, entry, tag, 4, 1, end)
    del data  # a file whose memory is lent out cannot grow
    directory = ImageFileDirectory_v2(ifh=b"II*\x00\x00\x00\x00\x00")
    for key, value in folder.items():
        if not isinstance(value, dict):
            directory[key] = value
    file.seek(end)
    file.write(directory.tobytes(end))


@contextlib.contextmanager
def _quiet() -> Any:
    """Without tifffile's warnings about odd files: what matters becomes an error's sentence."""
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
