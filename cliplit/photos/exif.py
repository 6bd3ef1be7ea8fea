"""EXIF and XMP that say orientation 1; EXIF is changed in place so that maker notes keep their offsets."""

from __future__ import annotations

import re
import struct
from typing import Any

from PIL import Image

ORIENTATION = 0x0112
TIFF_XMP = 700
_HEADER = b"Exif\x00\x00"
# What describes the photo; the other tags of a TIFF describe how its pixels lie in the file.
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
SUB_FOLDERS = (0x8769, 0x8825)
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>))\s*\d+""")
# A gain map (Ultra HDR) fits the photo as it was, and is not written again; nor may its description be.
_XMP_GAIN_MAP = re.compile(
    rb"""\s(?:hdrgm|HDRGainMap):\w+\s*=\s*(?:"[^"]*"|'[^']*')|<(\w*Container:Directory)\b.*?</\1>""", re.DOTALL
)


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


def upright_xmp(xmp: Any) -> bytes | None:
    """``xmp`` (text or bytes) with orientation 1 and without the description of a gain map; None if it is not XMP."""
    data = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    if not isinstance(data, bytes) or b"<" not in data:
        return None
    return _XMP_GAIN_MAP.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", data.rstrip(b"\0")))


def portable_exif(exif: Image.Exif) -> bytes | None:
    """The descriptive part of a TIFF's tags as EXIF bytes; None if there is none."""
    kept = Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for tag in SUB_FOLDERS:
        if folder := exif.get_ifd(tag):
            kept.get_ifd(tag).update(folder)
    return kept.tobytes() if len(kept) or any(kept.get_ifd(tag) for tag in SUB_FOLDERS) else None
