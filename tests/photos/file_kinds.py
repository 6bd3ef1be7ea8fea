"""Files of every kind for the tests of the codecs, and profiles that they are coded in."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from importlib.util import find_spec

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from cliplit.photos.codecs import Photo, encode_photo

_SRGB_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
_P3 = [0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1]
_PROPHOTO = [0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 0.0001, 1]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:Rating="4" tiff:Orientation="6"/></x:xmpmeta>'


def ramps(height: int = 40, width: int = 64, dtype: type = np.uint8) -> np.ndarray:
    """Red grows to the right, green downwards; every value that the depth has room for may occur."""
    down, right = np.mgrid[0:height, 0:width]
    full = np.iinfo(dtype).max
    planes = [right / (width - 1), down / (height - 1), np.full(right.shape, 0.35)]
    return np.round(np.stack(planes, -1) * full).astype(dtype)


def exif_bytes(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Makers"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


@cache  # a profile states when it was made
def p3_icc() -> bytes:
    return imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=_P3, gamma=2.2)


@cache
def prophoto_icc() -> bytes:
    return imagecodecs.cms_profile("rgb", whitepoint=[0.3457, 0.3585, 1], primaries=_PROPHOTO, gamma=1.8)


@cache
def linear_icc() -> bytes:
    return imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1], primaries=_P3, gamma=1.0)


def dng(light: np.ndarray) -> bytes:
    """A DNG with an RGGB mosaic of linear H x W x 3 ``light``, whose camera sees Rec. 709's primaries."""
    mosaic = light[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    matrix = [part for value in np.linalg.inv(_SRGB_XYZ).ravel() for part in (round(value * 10000), 10000)]
    file = io.BytesIO()
    tags = [
        (271, 2, 0, "Makers", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, b"\0\1\1\2", True),
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 0, "Makers One", True),
        (50717, 4, 1, 65535, True),
        (50721, 10, 9, matrix, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, 3, 1, 21, True),
    ]
    pixels = np.round(mosaic * 65535).astype(np.uint16)
    tifffile.imwrite(file, pixels, photometric=32803, metadata=None, software=False, extratags=tags)
    return file.getvalue()


def one_of_each() -> dict[str, bytes]:
    """A small whole file of every kind, by suffix; two TIFFs and two PNGs, as the depth decides who decodes them."""
    shallow = Photo(ramps(), exif=exif_bytes(), xmp=XMP)
    deep = Photo(ramps(dtype=np.uint16), exif=exif_bytes(), xmp=XMP)
    light = Photo(ramps().astype(np.float32) / 16, linear=True)
    kinds = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP", ".avif": "AVIF"}
    files = {suffix: encode_photo(shallow, kind) for suffix, kind in kinds.items()}
    files |= {".16.png": encode_photo(deep, "PNG"), ".16.tif": encode_photo(deep, "TIFF")}
    files |= {".32.tif": encode_photo(light, "TIFF"), ".exr": encode_photo(light, "EXR")}
    files[".hdr"] = encode_photo(light, "HDR")
    if find_spec("pillow_heif"):
        files[".heic"] = encode_photo(shallow, "HEIF")
    return files | ({".dng": dng(np.maximum(ramps() / 255, 0.1))} if find_spec("rawpy") else {})


def png_of(header: tuple[int, int, int, int], data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with this width, height, depth and colour type, these chunks and then ``data``, whatever they are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    parts = [(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
