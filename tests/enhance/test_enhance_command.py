"""cliplit enhance: what comes out, what is refused, and what one bad photo does to the rest."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cliplit.cli import main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, weights):
    """Run ``cliplit enhance`` in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, with_weights=True):
        extra = ["--weights", str(weights)] if with_weights else []
        monkeypatch.setattr(sys, "argv", ["cliplit", "enhance", *map(str, arguments), "--device", "cpu", *extra])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def photo(tmp_path, dark):
    """Writes the dark scene under a name, with options for Pillow."""

    def write(name, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dark).save(path, **options)
        return path

    return write


def level(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).mean()


def test_photo_is_relit_and_the_original_untouched(run, photo, tmp_path):
    source = photo("in/a.png")
    before = source.read_bytes()
    code, out, _ = run(source, "-o", "out")
    assert code == 0
    assert "1 photo relit into out" in out
    assert level(tmp_path / "out/a.png") > level(source) + 10
    assert source.read_bytes() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_exif_and_profile_are_kept_and_the_photo_is_upright(run, photo, tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker of cameras", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = photo("in/a.jpg", exif=exif, icc_profile=profile, quality=95)
    assert run(source, "-o", "out")[0] == 0
    with Image.open(tmp_path / "out/a.jpg") as image:
        assert image.format == "JPEG"
        assert image.getexif()[0x010F] == "Maker of cameras"
        assert image.getexif().get(0x0112, 1) == 1
        assert image.info["icc_profile"] == profile
        assert image.size == (90, 120)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.webp", "WEBP"), ("a.tif", "TIFF"), ("a.JPG", "JPEG")])
def test_same_format_comes_out(run, photo, tmp_path, name, kind):
    source = photo(f"in/{name}", format=kind)
    assert run(source, "-o", "out")[0] == 0
    with Image.open(tmp_path / "out" / name) as image:
        assert image.format == kind


def test_folder_keeps_its_structure_and_earlier_output_is_no_input(run, photo, tmp_path):
    photo("in/a.png")
    photo("in/deep/er/a.png")
    assert run("in", "-o", "in/relit")[0] == 0
    assert (tmp_path / "in/relit/deep/er/a.png").is_file()
    code, out, _ = run("in", "-o", "in/relit", "--overwrite")
    assert code == 0
    assert "2 photos" in out
    assert not (tmp_path / "in/relit/relit").exists()


def test_one_bad_photo_never_stops_the_rest(run, photo, tmp_path):
    photo("in/good.png")
    truncated = photo("in/cut.jpg", quality=95)
    truncated.write_bytes(truncated.read_bytes()[:900])
    (tmp_path / "in/text.jpg").write_text("this is a letter", encoding="utf-8")
    (tmp_path / "in/empty.png").touch()
    code, out, err = run("in", "absent.jpg", "-o", "out")
    assert code == 1
    assert "1 photo relit" in out
    assert "4 not relit" in err
    for name in ("cut.jpg", "text.jpg", "empty.png", "absent.jpg"):
        (line,) = [line for line in err.splitlines() if name in line]
        assert len(line.split(name)[1].strip()) > 10, "a reason stands behind the name"
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_only_bad_photos_is_exit_code_2(run, tmp_path):
    (tmp_path / "text.jpg").write_text("this is a letter", encoding="utf-8")
    code, out, err = run("text.jpg", "-o", "out")
    assert code == 2
    assert out == ""
    assert "text.jpg" in err


def test_huge_png_of_few_bytes_is_refused(run, tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 12_000)).save(buffer, "PNG")
    (tmp_path / "bomb.png").write_bytes(buffer.getvalue())
    code, _, err = run("bomb.png", "-o", "out")
    assert code == 2
    assert "240 megapixels" in err


def test_nothing_is_overwritten_unless_told(run, photo, tmp_path):
    source = photo("in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"precious")
    code, _, err = run(source, "-o", "out")
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "out/a.png").read_bytes() == b"precious"
    assert run(source, "-o", "out", "--overwrite")[0] == 0
    assert level(tmp_path / "out/a.png") > level(source)


@pytest.mark.parametrize("output", ["in", "in/../in", "link"])
def test_photos_are_never_replaced_by_their_own_output(run, photo, tmp_path, output):
    source = photo("in/a.png")
    before = source.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    code, _, err = run("in/a.png", "-o", output, "--overwrite")
    assert code == 2
    assert "choose another folder with -o" in err
    assert source.read_bytes() == before


def test_two_photos_of_one_name_do_not_overwrite_each_other(run, photo, tmp_path):
    code, _, err = run(photo("x/a.png"), photo("y/a.png"), "-o", "out", "--overwrite")
    assert code == 1
    assert "same output" in err
    assert (tmp_path / "out/a.png").is_file()


def test_empty_folder_and_output_that_is_a_file(run, photo, tmp_path):
    (tmp_path / "none").mkdir()
    code, _, err = run("none", "-o", "out")
    assert code == 2
    assert "none: no photos there" in err
    source = photo("in/a.png")
    code, _, err = run(source, "-o", source)
    assert code == 2
    assert "would replace the photo itself" in err
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    code, _, err = run(source, "-o", "notes.txt", "--overwrite")
    assert code == 2
    assert "notes.txt: is a file, and no photo" in err
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_missing_weights_name_the_fix(run, photo):
    source = photo("in/a.png")
    code, _, err = run(source, "-o", "out", "--weights", "absent.safetensors", with_weights=False)
    assert code == 2
    assert "absent.safetensors" in err
    assert "Traceback" not in err


def test_without_a_champion_the_model_that_cliplit_brings_relights(run, photo, tmp_path):
    source = photo("in/a.png")
    code, _, err = run(source, "-o", "out", with_weights=False)
    assert code == 0 and "No champion reigns here" in err
    assert level(tmp_path / "out/a.png") > level(source) + 10
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == []


def test_a_full_disk_leaves_nothing_half_written(run, photo, tmp_path, monkeypatch):
    source = photo("in/a.png")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = run(source, "-o", "out")
    assert code == 2
    assert "no space left" in err
    assert list((tmp_path / "out").iterdir()) == []
