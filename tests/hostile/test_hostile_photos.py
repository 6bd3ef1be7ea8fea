"""Photo files that are damaged, lie or attack: one sentence each, in bounded time and memory, and no crash."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cliplit.errors import PhotoError
from cliplit.photos.codecs import Photo, decode_photo, encode_photo, list_photos, read_photo, write_photo

sys.path.append(str(Path(__file__).parents[1] / "photos"))
from file_kinds import one_of_each, p3_icc, png_of, ramps

WHOLE = one_of_each()
CAP = 1_000_000
SEEDS = 60


def sentence(data: bytes, name: str = "x", max_pixels: int = CAP) -> str:
    """Why ``data`` is refused, which it must be."""
    with pytest.raises(PhotoError) as caught:
        decode_photo(data, name, max_pixels)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{name}: ")
    return caught.value.reason


@pytest.mark.parametrize("suffix", WHOLE)
def test_truncated_anywhere(suffix: str) -> None:
    whole = WHOLE[suffix]
    for length in (1, 7, 13, 40, len(whole) // 4, len(whole) // 2, len(whole) * 9 // 10):
        reason = sentence(whole[:length])
        assert any(word in reason for word in ("damaged", "not a photo", "end is missing")), reason


@pytest.mark.parametrize("suffix", WHOLE)
def test_flipped_bits_never_escape(suffix: str) -> None:
    """Damage of four kinds, in the head and everywhere; each try has 2 s and the process little more memory."""
    whole = np.frombuffer(WHOLE[suffix], np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for seed in range(SEEDS):
        began = time.perf_counter()
        try:
            photo = decode_photo(damaged(whole, seed), f"x{suffix}", CAP)
            height, width = photo.pixels.shape[:2]
            assert photo.pixels.shape == (height, width, 3) and height * width <= CAP
            assert np.isfinite(photo.pixels).all()
        except PhotoError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
        assert time.perf_counter() - began < 2
    assert refused >= SEEDS // 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def damaged(whole: np.ndarray, seed: int) -> bytes:
    """Bytes changed; in half of all seeds near the head only, and for every fourth cut or with bytes put in too."""
    rng = np.random.default_rng(seed)
    data = whole.copy()
    reach = len(data) if seed % 2 else min(len(data), 400)
    count = rng.integers(1, 12)
    data[rng.integers(0, reach, count)] = rng.integers(0, 256, count)
    if seed % 4 == 3:
        data = data[: rng.integers(1, len(data))]
    if seed % 4 == 2:
        data = np.insert(data, reach // 2, rng.integers(0, 256, 20))
    return data.tobytes()


@pytest.mark.parametrize("suffix", WHOLE)
def test_the_pixel_cap_comes_before_decoding(suffix: str) -> None:
    assert "megapixels are more than the 0 allowed" in sentence(WHOLE[suffix], f"x{suffix}", max_pixels=1000)


def test_claims_of_huge_sizes_cost_nothing() -> None:
    """A few kB that say 100000 x 100000; a process that decoded one would need tens of GB."""
    tiff = bytearray(WHOLE[".16.tif"])
    with tifffile.TiffFile(io.BytesIO(tiff)) as file:
        for name in ("ImageWidth", "ImageLength"):
            struct.pack_into("<I", tiff, file.pages[0].tags[name].valueoffset, 100_000)
            struct.pack_into("<H", tiff, file.pages[0].tags[name].offset + 2, 4)
    exr = WHOLE[".exr"]
    at = exr.index(b"dataWindow\0box2i\0") + 21
    claims = {
        "png": png_of((100_000, 100_000, 16, 2), zlib.compress(bytes(100))),
        "tiff": bytes(tiff),
        "exr": exr[:at] + struct.pack("<4i", 0, 0, 99_999, 99_999) + exr[at + 16 :],
        "hdr": WHOLE[".hdr"].replace(b"-Y 40 +X 64", b"-Y 100000 +X 100000"),
        "bmp": WHOLE[".bmp"][:18] + struct.pack("<ii", 100_000, 100_000) + WHOLE[".bmp"][26:],
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in claims.items():
        assert "10000 megapixels are more than the 200 allowed" in sentence(data, name, 200_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_tile_larger_than_the_cap_is_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, ramps(dtype=np.uint16), photometric="rgb", tile=(16, 16), compression="zlib")
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        for name in ("TileWidth", "TileLength"):
            struct.pack_into("<H", data, tiff.pages[0].tags[name].valueoffset, 60_000)
    assert "megapixels are more" in sentence(bytes(data), max_pixels=200_000_000)


def test_compressed_metadata_that_explodes_is_refused() -> None:
    bomb = zlib.compress(bytes(300_000_000), 9)
    data = zlib.compress(b"".join(b"\0" + bytes(24) for _ in range(8)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, body in ((b"iCCP", b"p\0\0" + bomb), (b"zTXt", b"k\0\0" + bomb)):
        assert "damaged" in sentence(png_of((8, 8, 8, 2), data, (kind, body)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_animations_and_pages_are_refused_and_say_what_to_do() -> None:
    frames = [Image.fromarray(ramps() // (number + 1)) for number in range(3)]
    for kind in ("PNG", "WEBP", "AVIF", "TIFF"):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        reason = sentence(file.getvalue())
        assert ("3 pages" if kind == "TIFF" else "an animation of 3 frames") in reason and "save the" in reason
    pages = io.BytesIO()
    tifffile.imwrite(pages, np.stack([ramps(dtype=np.uint16)] * 2), photometric="rgb")
    assert "2 pages" in sentence(pages.getvalue())


def test_thumbnails_inside_a_tiff_are_no_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(ramps(dtype=np.uint16), photometric="rgb")
        tiff.write(ramps(10, 16, np.uint16), photometric="rgb", subfiletype=1)
    assert decode_photo(file.getvalue()).pixels.shape == (40, 64, 3)


@pytest.mark.parametrize("suffix", WHOLE)
def test_content_decides_not_the_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / ("a.png" if suffix.endswith((".jpg", ".heic")) else "a.jpg")
    path.write_bytes(WHOLE[suffix])
    assert read_photo(path).format == decode_photo(WHOLE[suffix], f"x{suffix}").format


def test_formats_that_are_not_listed_are_not_tried() -> None:
    for kind in ("GIF", "ICO", "PPM", "TGA", "JPEG2000", "PDF", "EPS", "SGI", "PCX"):
        file = io.BytesIO()
        Image.fromarray(ramps()).save(file, kind)
        assert "not a photo in a format" in sentence(file.getvalue())
    for data in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe", b"\0" * 5000, os.urandom(4) * 900):
        assert "not a photo" in sentence(data)
    assert "0 bytes" in sentence(b"")


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", os.urandom(3000)])
def test_garbage_for_exif_costs_the_exif_only(exif: bytes) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(ramps()).save(file, kind, exif=exif, **({"quality": 95} if kind != "PNG" else {}))
        photo = decode_photo(file.getvalue())
        for target in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            assert np.abs(decode_photo(encode_photo(photo, target)).pixels.astype(int) - photo.pixels).mean() < 4


def test_exif_that_points_at_itself() -> None:
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    loop = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)
    file = io.BytesIO()
    Image.fromarray(ramps()).save(file, "JPEG", exif=loop)
    assert decode_photo(encode_photo(decode_photo(file.getvalue()), "TIFF")).pixels.shape == (40, 64, 3)


def test_a_huge_or_senseless_profile() -> None:
    huge = bytearray(p3_icc() + os.urandom(3_000_000))
    huge[:4] = len(huge).to_bytes(4, "big")
    for icc in (bytes(huge), b"x" * 200_000, p3_icc()[:140], bytes(128) + b"\xff" * 64):
        for kind in ("JPEG", "TIFF", "WEBP"):
            data = encode_photo(Photo(ramps(), icc=icc), kind)
            photo = decode_photo(data)
            assert photo.icc in (icc, None) and photo.pixels.shape == (40, 64, 3)


ODD_NAMES = ["with space.jpg", 'it\'s "quoted".jpg', "line\nbreak.jpg", "Grün 写真 🌄.jpg", "-o.jpg", "%s{}$HOME;.jpg"]


@pytest.mark.parametrize("name", [*ODD_NAMES, "写" * 70 + ".jpg", os.fsdecode(b"bytes\xff\xfe.jpg")])
def test_odd_names_are_read_written_and_named_on_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_photo(Photo(ramps()), path)
    assert [found.name for found in list_photos(tmp_path)] == [name]
    assert read_photo(path).pixels.shape == (40, 64, 3)
    path.write_bytes(WHOLE[".jpg"][:300])
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    assert len(str(caught.value).splitlines()) == 1 and str(caught.value).encode("utf-8")
    assert caught.value.path == str(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").write_bytes(b"")
    assert [path.name for path in list_photos(tmp_path)] == ["zero.jpg"]
    for name in (
        "folder.jpg",
        "loop.jpg",
        "a.jpg",
        "pipe.jpg",
        "zero.jpg",
        "none.jpg",
        "x" * 300 + ".jpg",
        "nul\0.jpg",
    ):
        with pytest.raises(PhotoError):
            read_photo(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(WHOLE[".jpg"])
    path.chmod(0)
    with pytest.raises(PhotoError, match="not allowed"):
        read_photo(path)


def test_decoders_leave_stdout_alone(tmp_path: Path) -> None:
    """A photo or JSON may be on its way there."""
    for suffix, data in WHOLE.items():
        (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) * 2 // 3])
    program = (
        "import sys\nfrom cliplit.photos.codecs import read_photo\nfrom cliplit.errors import PhotoError\n"
        "for path in sys.argv[1:]:\n try: read_photo(path)\n except PhotoError as error: print(error)\n"
    )
    paths = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(WHOLE), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
