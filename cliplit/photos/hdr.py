"""Scene-linear files: OpenEXR and Radiance .hdr, in and out, with values above 1."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cliplit.photos.colour import finite
from cliplit.photos.photo import Photo, Source
from cliplit.photos.profiles import REC709

_SIZE = re.compile(rb"^-Y +(\d{1,9}) +\+X +(\d{1,9})$")
_LONGEST_HEADER = 65_536
_MOST_CHANNELS = 16  # all are decoded, though three are looked at
#: x and y of red, green, blue and white in a file that states none (OpenEXR's and Radiance's defaults differ little).
_REC709_XY = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = REC709.sum(axis=1)


def read_exr(source: Source) -> Photo:
    """The one picture of an OpenEXR file: R, G, B or Y, with A as alpha; other layers are refused."""
    import OpenEXR

    source.file.seek(0)
    with OpenEXR.File(source.file, header_only=True, separate_channels=True) as file:
        if len(file.parts) != 1:
            raise source.refused(f"an OpenEXR file of {len(file.parts)} parts; save the one that you want alone")
        header = file.header()  # emptied when the file is closed
        size = _size(source, header)
        wanted = _wanted_channels(source, header)
        matrix = _to_rec709(header.get("chromaticities"))
    # File prints damage to stdout and goes on; InputFile raises.
    source.file.seek(0)
    file = OpenEXR.InputFile(source.file)
    try:
        stored = {name: str(channel) for name, channel in file.header()["channels"].items()}
        planes = {name: _plane(file, name, stored[name], size) for name in {*wanted, *({"A"} & set(stored))}}
    finally:
        file.close()
    light = finite(np.stack([planes[name] for name in (wanted * 3)[:3]], -1))
    alpha = finite(planes["A"]) if "A" in planes else None
    return Photo(light if matrix is None else light @ matrix, "EXR", linear=True, alpha=alpha)


def write_exr(photo: Photo) -> bytes:
    """The bytes of an OpenEXR file, 32-bit float, ZIP-compressed without loss, with Rec. 709's primaries stated."""
    import OpenEXR

    channels = {name: np.ascontiguousarray(photo.pixels[..., index]) for index, name in enumerate("RGB")}
    if photo.alpha is not None:
        channels["A"] = np.ascontiguousarray(photo.alpha, dtype=np.float32)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": _REC709_XY,
    }
    encoded = io.BytesIO()
    with OpenEXR.File(header, channels) as file:
        file.write(encoded)
    return encoded.getvalue()


def read_radiance(source: Source) -> Photo:
    """The photo in a Radiance .hdr file."""
    import imagecodecs

    source.file.seek(0)
    lines: list[bytes] = []
    while not (lines and _SIZE.match(lines[-1])):
        line = source.file.readline(4096)
        if not line.endswith(b"\n") or source.file.tell() > _LONGEST_HEADER:
            raise source.refused("damaged, or not stored in rows from the top left; export it again as .exr or .hdr")
        lines.append(line.rstrip(b"\r\n"))
    height, width = (int(number) for number in _SIZE.match(lines[-1]).groups())  # type: ignore[union-attr]
    source.allow(width, height)
    if any(line.startswith(b"FORMAT=") and line != b"FORMAT=32-bit_rle_rgbe" for line in lines):
        raise source.refused("a Radiance file in XYZ colours; export it as RGB")
    body = source.file.read()
    if len(body) < height * 4:  # a run-length coded row of any width takes four bytes at least
        raise source.refused("damaged or truncated (its end is missing); copy it again from its source")
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + lines[-1] + b"\n"
    light = imagecodecs.rgbe_decode(header + body)
    return Photo(finite(light), "HDR", linear=True)


def write_radiance(photo: Photo) -> bytes:
    """The bytes of a Radiance .hdr file: 8 bits of each colour and a common exponent, so nothing below 0, no alpha."""
    import imagecodecs

    light = np.clip(photo.pixels, 0, np.float32(1.7e38))
    return bytes(imagecodecs.rgbe_encode(np.ascontiguousarray(light), header=True, rle=True))


def _size(source: Source, header: dict[str, Any]) -> tuple[int, int]:
    """Height and width, if they are allowed."""
    (left, top), (right, bottom) = (corner.tolist() for corner in header["dataWindow"])
    source.allow(right - left + 1, bottom - top + 1)
    return bottom - top + 1, right - left + 1


def _plane(file: Any, name: str, kind: str, size: tuple[int, int]) -> NDArray[Any]:
    dtype = np.float16 if "HALF" in kind else np.uint32 if "UINT" in kind else np.float32
    return np.frombuffer(file.channel(name), dtype).reshape(size)


def _wanted_channels(source: Source, header: dict[str, Any]) -> list[str]:
    """R, G and B or Y, by a header that is checked for everything that would not be one picture."""
    kind = str(header.get("type", ""))
    if "deep" in kind:
        raise source.refused("a deep OpenEXR file; flatten it first")
    tiles = header.get("tiles")  # with several resolutions, or huge, tiles would multiply what is decoded
    if tiles is not None:
        source.allow(int(tiles.xSize), int(tiles.ySize))
        if "ONE_LEVEL" not in str(tiles.mode):
            raise source.refused("an OpenEXR file with several resolutions; export it with one")
    channels = header["channels"]
    names = {channel.name for channel in channels}
    wanted = next((chosen for chosen in (["R", "G", "B"], ["Y"]) if names.issuperset(chosen)), None)
    if wanted is None or {"RY", "BY"} & names:
        raise source.refused(f"its channels are {', '.join(sorted(names)[:8])}, not R, G, B; export it as RGB")
    if len(channels) > _MOST_CHANNELS or any(channel.xSampling != 1 or channel.ySampling != 1 for channel in channels):
        raise source.refused("an OpenEXR file with many or subsampled channels; export it as RGB")
    return wanted


def _to_rec709(chromaticities: Any) -> NDArray[np.float32] | None:
    """What linear pixels with these primaries and white are multiplied by from the right; None: nothing to do."""
    if chromaticities is None or np.abs(np.subtract(chromaticities, _REC709_XY)).max() < 2e-3:
        return None
    matrix = np.linalg.solve(_xyz_d50(_REC709_XY), _xyz_d50(chromaticities))
    return matrix.T.astype(np.float32)


def _xyz_d50(xy: Any) -> NDArray[np.float64]:
    """The matrix from linear RGB with these x and y of red, green, blue and white to XYZ, adapted to D50 (Bradford)."""
    points = np.array(xy, np.float64).reshape(4, 2)
    columns = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    primaries, white = columns[:, :3], columns[:, 3]
    to_xyz = primaries * np.linalg.solve(primaries, white)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ to_xyz
