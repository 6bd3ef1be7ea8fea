"""EXIF bytes whose orientation is 1, changed in place so that maker notes keep their offsets."""

from __future__ import annotations

import struct

from PIL import Image

ORIENTATION = 0x0112
_HEADER = b"Exif\x00\x00"
# What describes the photo; the other tags of a TIFF describe how its pixels lie in the file.
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_SUB_FOLDERS = (0x8769, 0x8825)


def upright_exif(exif: bytes | None) -> bytes | None:
    """``exif`` with orientation 1 and without its thumbnail, which would show the photo as it was before."""
    if not exif:
        return None
    body = bytearray(exif.removeprefix(_HEADER))
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(body[:2])]
        (start,) = struct.unpack_from(order + "I", body, 4)
        (count,) = struct.unpack_from(order + "H", body, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(order + "H", body, entry)
            if tag == ORIENTATION:
                struct.pack_into(order + "HIHH", body, entry + 2, 3, 1, 1, 0)
        struct.pack_into(order + "I", body, start + 2 + 12 * count, 0)
    except (KeyError, struct.error):
        return None  # not EXIF at all; written back it would only trouble other programs
    return _HEADER + bytes(body)


def portable_exif(exif: Image.Exif) -> bytes | None:
    """The descriptive part of a TIFF's tags as EXIF bytes; None if there is none."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for tag in _SUB_FOLDERS:
        if folder := exif.get_ifd(tag):
            kept.get_ifd(tag).update(folder)
    return kept.tobytes() if len(kept) or any(kept.get_ifd(tag) for tag in _SUB_FOLDERS) else None


def tiff_exif(exif: bytes) -> bytes | None:
    """EXIF bytes reduced to what may stand beside a TIFF's own tags."""
    parsed = Image.Exif()
    parsed.load(exif)
    return portable_exif(parsed)
