"""Camera RAW files through LibRaw (the extra rawpy): developed to 16-bit sRGB as the camera balanced the light."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from PIL import Image

from cliplit.photos.exif import portable_exif, upright_exif
from cliplit.photos.photo import HEAD, Photo, Source, kind_of
from cliplit.photos.tiff import exif_of_tiff, is_cut

_SRGB_CURVE = (2.4, 12.92)


def read(source: Source) -> Photo:
    """A RAW file as a photo of 16 bits: the camera's white balance, sRGB, exposed as shot (not brightened)."""
    try:
        import rawpy
    except ImportError:
        raise source.refused('camera RAW files need an extra library; run: pip install "cliplit[raw]"') from None
    if _is_tiff(source) and is_cut(source):
        raise source.refused("damaged or truncated (its end is missing); copy it again from its source")
    source.file.seek(0)
    with rawpy.RawPy() as raw:
        raw.open_buffer(source.file)
        source.allow(raw.sizes.raw_width, raw.sizes.raw_height)
        raw.unpack()
        exif = _exif(source, raw)
        pixels = raw.postprocess(
            use_camera_wb=True,
            output_bps=16,
            output_color=rawpy.ColorSpace.sRGB,
            gamma=_SRGB_CURVE,
            no_auto_bright=True,
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise source.refused("a RAW file without colours; export it as a 16-bit TIFF first")
    return Photo(np.ascontiguousarray(pixels), "RAW", exif=exif)


def _is_tiff(source: Source) -> bool:
    source.file.seek(0)
    return kind_of(source.file.read(HEAD)) == "TIFF"


def _exif(source: Source, raw: Any) -> bytes | None:
    """EXIF of the RAW file itself where it is a TIFF, else of the preview inside."""
    with contextlib.suppress(Exception):  # a RAW file without readable EXIF is still a photo
        if own := portable_exif(exif_of_tiff(source)):
            return upright_exif(own)
        preview = bytes(raw.extract_thumb().data)
        with Image.open(io.BytesIO(preview), formats=["JPEG"]) as image:
            return upright_exif(image.info.get("exif"))
    return None
