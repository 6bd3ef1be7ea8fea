"""What a photo is here, in which kinds of file it comes, and how a file's kind is told from its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from cliplit.errors import PhotoError

DEFAULT_MAX_PIXELS = 200_000_000
Pixels = NDArray[Any]  # uint8, uint16 or float32, H x W x 3

#: The suffixes that cliplit writes, and the kind of file that each names.
WRITTEN = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".exr": "EXR",
    ".hdr": "HDR",
}
#: Camera files: read only.
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw"}
    | {".orf", ".pef", ".raf", ".rw2", ".rwl", ".srw", ".x3f"}
)
PHOTO_SUFFIXES = frozenset(WRITTEN) | RAW_SUFFIXES
#: What people call the kinds, for sentences.
KINDS = "JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC, OpenEXR, Radiance HDR and camera RAW"
HEAD = 64  # bytes; enough to tell every kind

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_RAW_HEADS = (b"FUJIFILM", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FOVb", b"\x00MRM", b"II\x1a\x00\x00\x00HEAP")


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo: ``pixels`` are H x W x 3, ``exif`` and ``xmp`` say orientation 1.

    uint8 and uint16 pixels are coded in the RGB profile ``icc`` (None: sRGB) over their whole range. ``linear`` pixels
    are float32 and scene-linear with the primaries of Rec. 709 and without profile: 1.0 is diffuse white, more is
    allowed, and colours outside Rec. 709 have channels below 0. ``alpha`` is H x W of the pixels' type, 0 transparent;
    the pixels are not multiplied by it, except in OpenEXR files and float TIFFs, whose pixels are kept as stored.
    """

    pixels: Pixels
    format: str = "JPEG"
    exif: bytes | None = None
    icc: bytes | None = None
    path: Path | None = None
    linear: bool = False
    xmp: bytes | None = None
    alpha: NDArray[Any] | None = None


@dataclass(frozen=True)
class Source:
    """An opened file that is being decoded, what it is called in errors, and how many pixels it may have."""

    file: BinaryIO
    name: object
    max_pixels: int

    def allow(self, width: int, height: int) -> None:
        """Raise PhotoError if a photo of this size is more than may be decoded, or none at all."""
        if width < 1 or height < 1:
            raise self.refused(f"damaged (it says that it is {width}x{height}); copy it again from its source")
        if width * height > self.max_pixels:
            size, cap = width * height / 1e6, self.max_pixels / 1e6
            raise self.refused(f"{size:.0f} megapixels are more than the {cap:.0f} allowed; make it smaller")

    def refused(self, reason: str) -> PhotoError:
        return PhotoError(self.name, reason)

    def bytes(self) -> bytes:
        """The whole file."""
        self.file.seek(0)
        return self.file.read()


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins with ``head`` (HEAD bytes); None: not a photo. Some RAW files say "TIFF" here."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "RAW" if head[8:10] == b"CR" else "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith(b"v/1\x01"):
        return "EXR"
    if head.startswith(b"#?"):
        return "HDR"
    if head.startswith(_RAW_HEADS):
        return "RAW"
    return _iso_kind(head) if head[4:8] == b"ftyp" else None


def _iso_kind(head: bytes) -> str | None:
    """AVIF, HEIF or RAW (CR3), by the brands of an ISO base media file."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))]
    if {b"avif", b"avis"} & set(brands):
        return "AVIF"
    if brands[0] == b"crx ":
        return "RAW"
    return "HEIF" if _HEIF_BRANDS & set(brands) else None
