"""Depth, alpha, scene-linear light and RAW: what the formats beyond 8-bit RGB keep."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from file_kinds import XMP, dng, exif_bytes, linear_icc, one_of_each, p3_icc, ramps
from PIL import Image

from cliplit.errors import PhotoError
from cliplit.photos.codecs import Photo, decode_photo, eight_bit, encode_photo, read_photo, to_srgb, write_photo
from cliplit.photos.profiles import srgb_curve

DEEP = ramps(dtype=np.uint16)
LIGHT = np.concatenate([ramps().astype(np.float32) / 255, np.full((4, 64, 3), (50.0, 8.0, 1e-3), np.float32)])


def again(photo: Photo, kind: str) -> Photo:
    return decode_photo(encode_photo(photo, kind), f"a {kind}")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_stay_with_all_that_goes_with_them(kind: str) -> None:
    alpha = np.broadcast_to(np.linspace(0, 65535, 64).astype(np.uint16), (40, 64))
    result = again(Photo(DEEP, exif=exif_bytes(), icc=p3_icc(), xmp=XMP, alpha=alpha), kind)
    assert result.pixels.dtype == np.uint16 and (result.pixels == DEEP).all()
    assert (result.alpha == alpha).all() and result.icc == p3_icc()
    assert b'xmp:Rating="4"' in result.xmp and b'tiff:Orientation="1"' in result.xmp
    exif = Image.Exif()
    exif.load(result.exif)
    assert exif[0x010F] == "Makers" and exif.get_ifd(0x8825)[1] == "N"
    assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)


def test_other_programs_read_our_deep_files() -> None:
    photo = Photo(DEEP, exif=exif_bytes(), icc=p3_icc(), xmp=XMP)
    with Image.open(io.BytesIO(encode_photo(photo, "PNG"))) as image:
        image.load()
        assert image.info["icc_profile"] == p3_icc() and image.getexif()[0x010F] == "Makers"
    with Image.open(io.BytesIO(encode_photo(photo, "TIFF"))) as image:
        assert image.info["compression"] == "tiff_adobe_deflate" and image.getexif().get_ifd(0x8825)[1] == "N"
    with tifffile.TiffFile(io.BytesIO(encode_photo(photo, "TIFF"))) as tiff:
        assert (tiff.asarray() == DEEP).all() and "ExifTag" in tiff.pages[0].tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_photos_are_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    shallow, deep = tmp_path / f"shallow{suffix}", tmp_path / f"deep{suffix}"
    eight = ramps()
    Image.fromarray(eight).save(shallow, exif=exif_bytes(orientation))
    deep_pixels = eight.astype(np.uint16) * 257
    if suffix == ".png":
        data = imagecodecs.png_encode(deep_pixels)
        kept = exif_bytes(orientation).removeprefix(b"Exif\0\0")
        at = 33
        chunk = len(kept).to_bytes(4, "big") + b"eXIf" + kept
        chunk += zlib.crc32(b"eXIf" + kept).to_bytes(4, "big")
        deep.write_bytes(data[:at] + chunk + data[at:])
    else:
        tifffile.imwrite(deep, deep_pixels, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    photo = read_photo(deep)
    assert photo.pixels.dtype == np.uint16
    assert (eight_bit(photo).pixels == read_photo(shallow).pixels).all()


def test_grey_of_sixteen_bits_becomes_rgb() -> None:
    grey = DEEP[..., 0]
    for data in (imagecodecs.png_encode(np.ascontiguousarray(grey)), _tiff(grey, photometric="minisblack")):
        photo = decode_photo(data, "grey")
        assert photo.pixels.dtype == np.uint16 and photo.pixels.shape == (40, 64, 3)
        assert (photo.pixels == grey[..., None]).all()
    assert (decode_photo(_tiff(grey, photometric="miniswhite"), "grey").pixels == 65535 - grey[..., None]).all()


def test_unusual_tiffs() -> None:
    planes = _tiff(np.moveaxis(DEEP, -1, 0).copy(), photometric="rgb", planarconfig="separate", compression="lzw")
    assert (decode_photo(planes, "planes").pixels == DEEP).all()
    inks = np.zeros((8, 8, 4), np.uint16)
    inks[..., 1:3] = 65535
    cmyk = decode_photo(_tiff(inks, photometric="separated"), "inks")
    assert cmyk.pixels[0, 0, 0] > 50000 and cmyk.pixels[0, 0, 1:].max() < 15000
    half = decode_photo(_tiff(LIGHT.astype(np.float16), photometric="rgb"), "half")
    assert half.linear and half.pixels.max() == 50
    alpha = np.full((40, 64, 1), 32768, np.uint16)
    premultiplied = _tiff(np.dstack([DEEP // 2, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(decode_photo(premultiplied, "a").pixels.astype(int) - DEEP).max() <= 2
    with pytest.raises(PhotoError, match="export RGB"):
        decode_photo(_tiff(DEEP, photometric="cielab"), "lab.tif")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_kept(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    alpha = np.full((40, 64), 255, np.uint8)
    alpha[:, :32] = 100
    result = again(Photo(ramps(), alpha=alpha), kind)
    assert np.abs(result.alpha.astype(int) - alpha).max() <= 3
    assert np.abs(result.pixels[:, 40:].astype(int) - ramps()[:, 40:]).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_formats_without_alpha_lie_over_white(kind: str) -> None:
    result = again(Photo(np.zeros((16, 16, 3), np.uint8), alpha=np.full((16, 16), 64, np.uint8)), kind)
    assert result.alpha is None and np.abs(result.pixels.astype(int) - 191).max() <= 2


def test_palette_and_key_colour_keep_their_transparency() -> None:
    file = io.BytesIO()
    picture = Image.fromarray(ramps()).quantize(16)
    picture.save(file, "PNG", transparency=bytes([0, 128, *[255] * 14]))
    photo = decode_photo(file.getvalue(), "palette")
    assert set(np.unique(photo.alpha)) == {0, 128, 255} and photo.pixels.shape == (40, 64, 3)


@pytest.mark.parametrize("kind", ["EXR", "TIFF"])
def test_light_comes_back_exactly(kind: str) -> None:
    light = LIGHT.copy()
    light[0, 0] = (-0.05, 0.2, 0.1)  # a colour outside Rec. 709
    alpha = np.full(light.shape[:2], 0.25, np.float32)
    result = again(Photo(light, linear=True, alpha=alpha), kind)
    assert result.linear and result.pixels.dtype == np.float32
    assert (result.pixels == light).all() and (result.alpha == alpha).all()


def test_radiance_keeps_light_to_its_eight_bits() -> None:
    result = again(Photo(LIGHT, linear=True), "HDR")
    brightest = LIGHT.max(axis=2, keepdims=True)
    assert result.linear and result.pixels.max() == 50
    assert (np.abs(result.pixels - LIGHT) <= brightest / 128).all()
    assert (again(result, "HDR").pixels == result.pixels).all()


@pytest.mark.parametrize("kind", ["EXR", "TIFF"])
def test_what_is_no_number_is_replaced(kind: str) -> None:
    light = LIGHT.copy()
    light[0, 0], light[1, 1], light[2, 2] = np.nan, np.inf, -np.inf
    result = again(Photo(light, linear=True), kind).pixels
    assert (result[0, 0] == 0).all() and (result[1, 1] == 50).all() and (result[2, 2] == -50).all()
    untouched = np.isfinite(light)
    assert (result[untouched] == light[untouched]).all()


def test_light_and_codes_become_each_other() -> None:
    coded = again(Photo(LIGHT, linear=True), "PNG")
    assert coded.pixels.dtype == np.uint16
    assert np.abs(coded.pixels / 65535 - srgb_curve(LIGHT)).max() < 1e-4
    back = again(coded, "EXR")
    assert back.linear and np.abs(back.pixels - np.clip(LIGHT, 0, 1)).max() < 1e-4
    assert eight_bit(Photo(LIGHT, linear=True)).pixels.dtype == np.uint8
    assert to_srgb(Photo(LIGHT, linear=True)).pixels[-1, 0, 0] == 65535


def test_float_tiff_in_a_profile_becomes_light_in_rec709() -> None:
    green = np.zeros((4, 4, 3), np.float32)
    green[..., 1] = 2.0
    photo = decode_photo(_tiff(green, photometric="rgb", iccprofile=linear_icc()), "p3.tif")
    assert photo.linear and photo.icc is None
    assert photo.pixels[0, 0, 0] == pytest.approx(-0.45, abs=0.02)  # P3's green is outside Rec. 709
    assert photo.pixels[0, 0, 1] == pytest.approx(2.08, abs=0.02)
    coded = decode_photo(_tiff(np.full((4, 4, 3), 0.5, np.float32), photometric="rgb", iccprofile=p3_icc()), "x")
    assert coded.pixels[0, 0] == pytest.approx([0.5**2.2] * 3, abs=1e-3)


def test_exr_primaries_are_converted(tmp_path: Path) -> None:
    import OpenEXR

    p3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "chromaticities": p3}
    pixels = np.zeros((2, 4, 3), np.float32)
    pixels[0, :, 1], pixels[1] = 1.0, 3.0
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "p3.exr"))
    result = read_photo(tmp_path / "p3.exr").pixels
    assert result[0, 0, 0] == pytest.approx(-0.225, abs=0.01)
    assert result[1, 0] == pytest.approx([3.0] * 3, abs=0.01)


def test_exr_files_that_are_not_one_picture_are_refused(tmp_path: Path) -> None:
    import OpenEXR

    plane = np.ones((8, 8), np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"depth.Z": plane}) as file:
        file.write(str(tmp_path / "depth.exr"))
    parts = [OpenEXR.Part({**header, "name": name}, {"Y": plane}) for name in ("left", "right")]
    with OpenEXR.File(parts) as file:
        file.write(str(tmp_path / "stereo.exr"))
    with OpenEXR.File(header, {"Y": plane}) as file:
        file.write(str(tmp_path / "grey.exr"))
    with pytest.raises(PhotoError, match=r"depth\.Z, not R, G, B"):
        read_photo(tmp_path / "depth.exr")
    with pytest.raises(PhotoError, match="2 parts"):
        read_photo(tmp_path / "stereo.exr")
    assert read_photo(tmp_path / "grey.exr").pixels.shape == (8, 8, 3)


def test_raw_is_developed_and_written_as_tiff(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    down, right = np.mgrid[0:120, 0:160]
    light = np.stack([right / 160, down / 120, np.full(right.shape, 0.2)], -1)
    light[:40, :40] = 1.0
    (tmp_path / "shot.dng").write_bytes(dng(light))
    photo = read_photo(tmp_path / "shot.dng")
    assert photo.format == "RAW" and photo.pixels.dtype == np.uint16 and photo.pixels.shape == (120, 160, 3)
    inner = np.s_[50:110, 50:150]
    assert np.abs(photo.pixels[inner] / 65535 - srgb_curve(light[inner])).max() < 0.02
    written = decode_photo(encode_photo(photo), "out")
    assert written.format == "TIFF" and (written.pixels == photo.pixels).all() and b"Makers" in written.exif
    with pytest.raises(PhotoError, match="names no format"):
        write_photo(photo, tmp_path / "out.dng")
    whole = (tmp_path / "shot.dng").read_bytes()
    with pytest.raises(PhotoError, match="truncated"):
        decode_photo(whole[: len(whole) // 2], "half.dng")
    with pytest.raises(PhotoError, match="more than the 0 allowed"):
        decode_photo(whole, "shot.dng", max_pixels=1000)


@pytest.mark.parametrize(("library", "suffix", "extra"), [("pillow_heif", ".heic", "heif"), ("rawpy", ".dng", "raw")])
def test_a_missing_extra_is_named(tmp_path: Path, library: str, suffix: str, extra: str) -> None:
    pytest.importorskip(library)
    (tmp_path / f"a{suffix}").write_bytes(one_of_each()[suffix])
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from cliplit.photos.codecs import read_photo\n"
        "try: read_photo(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / f"a{suffix}")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("PhotoError") and f'run: pip install "cliplit[{extra}]"' in done.stdout


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()
