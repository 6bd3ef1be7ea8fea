"""PNG of 16 bits through imagecodecs (libpng); Pillow reads and writes what goes with the pixels."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cliplit.photos import pillow_files
from cliplit.photos.exif import ORIENTATION
from cliplit.photos.photo import Photo, Source
from cliplit.photos.upright import upright

_HEADER = 33  # bytes of signature and IHDR


def is_deep(head: bytes) -> bool:
    """Whether a PNG that begins with ``head`` has 16 bits a channel."""
    return head[12:16] == b"IHDR" and head[24] == 16


def read(source: Source) -> Photo:
    """The photo in a PNG of 16 bits a channel; grey becomes RGB."""
    import imagecodecs

    described = pillow_files.read(source, "PNG")
    with pillow_files.opened(source, "PNG") as image:
        image.load()
        orientation, key = pillow_files.tags_of(image).get(ORIENTATION, 1), image.info.get("transparency")
    stored = imagecodecs.png_decode(source.bytes())
    stored = stored[..., None] if stored.ndim == 2 else stored
    grey = stored.shape[2] < 3
    colour = stored[..., :1] if grey else stored[..., :3]
    alpha = stored[..., -1] if stored.shape[2] in (2, 4) else _keyed(colour, key)
    pixels = np.repeat(colour, 3, axis=2) if grey else colour
    turned = None if alpha is None else upright(alpha, orientation)
    return replace(described, pixels=upright(pixels, orientation), alpha=turned)


def write(photo: Photo) -> bytes:
    """The bytes of a PNG of 16 bits with profile, EXIF and XMP."""
    import imagecodecs

    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6)
    chunks = b""
    if photo.icc:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.icc))
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    if photo.xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + photo.xmp)
    return bytes(encoded[:_HEADER] + chunks + encoded[_HEADER:])


def _keyed(colour: NDArray[np.uint16], key: Any) -> NDArray[np.uint16] | None:
    """Alpha of a PNG in which one colour is transparent."""
    if not isinstance(key, int | tuple):
        return None
    return np.where((colour == np.array(key, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
