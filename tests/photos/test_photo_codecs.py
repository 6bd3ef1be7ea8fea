"""codecs: every format in and out, what is kept, what is refused, and that nothing is left half-written."""

from __future__ import annotations

import errno
import resource
import signal
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from cliplit.errors import PhotoError
from cliplit.photos.codecs import (
    Photo,
    eight_bit,
    list_photos,
    read_photo,
    save_jpeg,
    save_png,
    to_srgb,
    write_photo,
)
from cliplit.photos.profiles import srgb_linear


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """Red grows to the right, green downwards."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([right * 255 / width, down * 255 / height, np.full((height, width), 90)], -1).astype(np.uint8)


def exif_bytes(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Makers"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    return exif.tobytes()


@cache  # a profile states when it was made
def srgb_icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_claiming(path: Path, width: int, height: int) -> Path:
    """A small PNG of one colour whose header and data are those of a huge one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(width // 8 + 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


SUFFIXES = [".jpg", ".JPEG", ".png", ".webp", ".tif", ".bmp"] + ([".avif"] if features.check("avif") else [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    write_photo(Photo(gradient(), exif=exif_bytes(), icc=srgb_icc()), path)
    photo = read_photo(path)
    assert photo.pixels.dtype == np.uint8
    assert np.abs(photo.pixels.astype(int) - gradient()).mean() < 3
    if suffix != ".bmp":
        assert photo.icc == srgb_icc()
        exif = Image.Exif()
        exif.load(photo.exif)
        assert exif[0x010F] == "Makers"
        assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    turns = {2: 0, 4: 1, 8: 2, 3: 3, 6: 4, 5: 5, 7: 6}  # orientation -> Image.Transpose
    stored = Image.fromarray(gradient())
    if orientation != 1:
        stored = stored.transpose(Image.Transpose(turns[undo[orientation]]))
    stored.save(tmp_path / f"in{suffix}", exif=exif_bytes(orientation), **({"quality": 95} if suffix != ".png" else {}))
    photo = read_photo(tmp_path / f"in{suffix}")
    assert photo.pixels.shape == (40, 60, 3)
    assert np.abs(photo.pixels.astype(int) - gradient()).mean() < 4
    write_photo(photo, tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as written:
        assert written.getexif().get(0x0112, 1) == 1
        assert written.getexif()[0x010F] == "Makers"


def test_maker_notes_keep_their_place_and_the_thumbnail_goes() -> None:
    from cliplit.photos.exif import upright_exif

    body = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    raw = b"Exif\x00\x00" + body + struct.pack("<I", 26) + b"opaque maker note"
    fixed = upright_exif(raw)
    assert len(fixed) == len(raw)
    assert fixed.endswith(struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0) + b"\x00\x00\x00\x00" + b"opaque maker note")
    assert upright_exif(b"garbage") is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16", "I", "F", "LAB", "YCbCr"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(srgb_linear(grey / 255))
    elif mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        image = ImageCms.profileToProfile(image.convert("RGB"), srgb, lab, outputMode="LAB")
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode == "1":
        image = image.point(lambda value: 255 * (value > 127)).convert("1")
    else:
        image = (image.convert("RGB") if mode in {"CMYK", "YCbCr"} else image).convert(mode)
    path = tmp_path / ("grey.png" if mode == "PA" else "grey.tif")
    if mode == "PA":
        image = image.convert("LA")
    image.save(path)
    photo = read_photo(path)
    assert photo.linear == (mode == "F") and photo.pixels.dtype == {"F": "f4", "I": "u2", "I;16": "u2"}.get(mode, "u1")
    pixels = eight_bit(photo).pixels
    assert pixels.shape == (32, 64, 3)
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    assert np.abs(pixels.astype(int) - expected[..., None]).mean() < 3


def test_transparent_parts_are_white_for_training(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert (eight_bit(read_photo(tmp_path / "a.png")).pixels == 255).all()
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "b.png", transparency=(10, 20, 30))
    assert (eight_bit(read_photo(tmp_path / "b.png")).pixels == 255).all()


def test_profile_of_another_colour_space_is_not_kept(tmp_path: Path) -> None:
    grey_icc = bytearray(srgb_icc())
    grey_icc[16:20] = b"GRAY"
    Image.new("L", (8, 8), 100).save(tmp_path / "a.png", icc_profile=bytes(grey_icc))
    photo = read_photo(tmp_path / "a.png")
    assert photo.icc is None
    assert abs(int(photo.pixels[0, 0, 0]) - 100) < 30


def test_pixels_stay_in_their_profile_until_asked() -> None:
    swapped = bytearray(srgb_icc())  # an RGB profile whose red and blue primaries are exchanged
    tags = {
        bytes(swapped[at : at + 4]): at for at in range(132, 132 + 12 * struct.unpack(">I", swapped[128:132])[0], 12)
    }
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    swapped[red + 4 : red + 12], swapped[blue + 4 : blue + 12] = (
        swapped[blue + 4 : blue + 12],
        swapped[red + 4 : red + 12],
    )
    pixels = np.full((2, 2, 3), (200, 40, 40), np.uint8)
    photo = Photo(pixels, icc=bytes(swapped))
    converted = to_srgb(photo)
    assert (photo.pixels == pixels).all() and converted.icc is None
    assert np.abs(converted.pixels[0, 0].astype(int) - (40, 40, 200)).max() <= 3
    assert (to_srgb(Photo(pixels, icc=b"nonsense" * 30)).pixels == pixels).all()


def test_noisy_photo_with_much_metadata_is_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "x" * 60000
    write_photo(Photo(noise, exif=exif.tobytes(), icc=srgb_icc()), tmp_path / "noise.jpg")
    save_jpeg(tmp_path / "best.jpg", noise, quality=100)
    assert np.abs(read_photo(tmp_path / "best.jpg").pixels.astype(int) - noise).mean() < 2
    exif[0x010E] = "x" * 70000
    with pytest.raises(PhotoError, match="do not fit"):
        write_photo(Photo(noise, exif=exif.tobytes()), tmp_path / "more.jpg")


def refused(path: Path, words: str) -> None:
    with pytest.raises(PhotoError, match=words) as caught:
        read_photo(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    path = png_claiming(tmp_path / "bomb.png", 16000, 15000)
    assert path.stat().st_size < 60_000
    refused(path, "240 megapixels")
    assert Image.MAX_IMAGE_PIXELS is not None
    with pytest.raises(PhotoError, match="more than the 0 allowed"):
        read_photo(png_claiming(tmp_path / "small.png", 40, 40), max_pixels=1000)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_photo(Photo(noise), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "damaged|not a photo")


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("This is a shopping list.")
    (tmp_path / "zero.jpg").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "gif.jpg", "GIF")
    refused(tmp_path / "text.jpg", "not a photo")
    refused(tmp_path / "zero.jpg", "empty")
    refused(tmp_path / "gif.jpg", "not a photo")
    refused(tmp_path / "none.jpg", "no such file")
    refused(tmp_path, "not a file")


def test_random_damage_never_escapes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for suffix in SUFFIXES:
        path = tmp_path / f"whole{suffix}"
        write_photo(Photo(gradient(), exif=exif_bytes(), icc=srgb_icc()), path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(25):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
            path.write_bytes(damaged.tobytes())
            try:
                assert read_photo(path, max_pixels=1_000_000).pixels.shape[2] == 3
            except PhotoError as error:
                assert "\n" not in str(error)


def test_existing_files_are_not_overwritten_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(path, gradient())
    before = path.read_bytes()
    with pytest.raises(PhotoError, match="--overwrite"):
        write_photo(Photo(gradient() // 2), path)
    assert path.read_bytes() == before
    write_photo(Photo(gradient() // 2), path, overwrite=True)
    assert (read_photo(path).pixels == gradient() // 2).all()
    with pytest.raises(PhotoError, match=r"'\.gif'"):
        write_photo(Photo(gradient()), tmp_path / "a.gif")


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: object) -> int:
        self.open("wb").write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    save_png(tmp_path / "old.png", gradient())
    before = (tmp_path / "old.png").read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("new.png", "old.png"):
        with pytest.raises(PhotoError, match=f"{name}.*no space left"):
            write_photo(Photo(gradient() // 2), tmp_path / name, overwrite=True)
    assert (tmp_path / "old.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]


def test_file_size_limit_leaves_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(PhotoError, match="no space left"):
            save_png(tmp_path / "big.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_listing_skips_hidden_files_and_survives_loops(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "a.png", "b/c.webp", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert [path.relative_to(tmp_path).as_posix() for path in list_photos(tmp_path)] == ["a.png", "b/c.webp", "z.JPG"]
