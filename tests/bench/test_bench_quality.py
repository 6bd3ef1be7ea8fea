"""The command from end to end on rendered photos, and the protocol against the published development table."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cliplit.bench import learned, niqe, quality, tables
from cliplit.commands.bench import bench
from cliplit.errors import UserError
from cliplit.evaluation import compare, metrics
from cliplit.lineage import registry
from cliplit.photos.codecs import save_png

SHARED = Path(__file__).parents[3] / "shared"
FILES = ("table.md", "per_photo.csv", "bench.json", "gallery.html")


@pytest.fixture(autouse=True)
def _few_patches_are_enough_and_no_champion_is_near(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(niqe, "LEAST_PATCHES", 10)
    monkeypatch.chdir(tmp_path)


def run(root: Path, output: Path, *more: object) -> Result:
    sets = ["--pairs", root / "pairs", "--unpaired", f"dark={root / 'dark'}", "--well-lit", root / "well_lit"]
    return CliRunner().invoke(bench, [str(each) for each in ["quality", *sets, "-o", output, *more]])


def figure(output: Path, name: str, method: str, key: str) -> float:
    table = json.loads((output / "bench.json").read_text())["table"]
    return next(row["figures"][key]["mean"] for row in table if (row["set"], row["method"]) == (name, method))


def test_one_command_measures_all_methods_on_all_sets(folders: Path, weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run(folders, output, "--model", f"ours={weights}", "--outputs", f"peer={folders / 'peer'}")
    assert done.exit_code == 1, done.output  # the peer has results for the pairs only
    table = pd.read_csv(output / "per_photo.csv")
    assert set(table["set"]) == {"pairs", "dark", "well_lit"}
    assert len(table[table["method"] == "ours"]) == 3 + 2 + 6
    assert len(table[table["method"] == "peer"]) == 3
    assert set(table[table["kind"] == "upper bound"]["set"]) == {"pairs"}
    assert figure(output, "pairs", "peer", "psnr") == 99
    assert figure(output, "well_lit", "identity", "harm") == 99
    assert figure(output, "pairs", "best tone curve", "psnr") >= figure(output, "pairs", "best gamma", "psnr")
    assert figure(output, "pairs", "best gamma", "psnr") >= figure(output, "pairs", "gamma 0.45", "psnr") > 20
    assert figure(output, "dark", "identity", "noise_gain") == 1 < figure(output, "dark", "gamma 0.45", "noise_gain")
    assert figure(output, "dark", "ours", "niqe") > 0
    assert "niqe" not in {
        key
        for row in json.loads((output / "bench.json").read_text())["table"]
        if row["set"] == "well_lit"
        for key in row["figures"]
    }


def test_the_table_names_bounds_repeats_and_what_is_missing(folders: Path, tmp_path: Path) -> None:
    done = run(folders, tmp_path / "out", "--outputs", f"peer={folders / 'peer'}")
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| best tone curve (upper bound) |" in text
    assert "Photos that show the same (1; each is counted): pairs/p1.png and dark/again.png." in text
    assert "Not measured: peer, dark/again.png: there is no such output" in text
    assert "8 results are missing" in done.output
    assert "LPIPS" in text and "CLIP-IQA" in text


def test_without_a_model_the_champion_is_measured(
    folders: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["quality", "--unpaired", f"dark={folders / 'dark'}", "-o", str(tmp_path / "out"), "--gallery", "1"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0 and "| dark | shipped | 2 |" in done.output
    monkeypatch.setattr(registry, "champion_file", lambda project: weights)
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0 and "| dark | champion | 2 |" in done.output


def test_the_gallery_opens(folders: Path, weights: Path, tmp_path: Path) -> None:
    run(folders, tmp_path / "out", "--model", f"ours={weights}", "--gallery", "2")
    page = (tmp_path / "out" / "gallery.html").read_text()
    pictures = re.findall(r"src='([^']+)'", page)
    assert {"gallery/worst-1.jpg", "gallery/worst-2.jpg", "gallery/set-pairs-1.jpg"} <= set(pictures)
    for name in pictures:
        with Image.open(tmp_path / "out" / name) as image:
            assert image.format == "JPEG" and np.asarray(image).std() > 10
    assert "worst of ours" in page


def test_the_same_seed_gives_the_same_bytes_and_another_other_intervals(folders: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(folders, tmp_path / name, "--seed", "1", "--gallery", "1").exit_code == 0
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert {str(path) for path in files} >= set(FILES)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
        assert str(tmp_path).encode() not in (tmp_path / "a" / file).read_bytes()
    result = quality.measure(quality.Inputs(unpaired=(("dark", folders / "well_lit"),)))
    one, same, other = (tables.summary(result, seed) for seed in (1, 1, 2))
    assert one == same != other


def test_a_bad_photo_costs_itself_only(folders: Path, tmp_path: Path) -> None:
    (folders / "dark" / "broken.png").write_bytes(b"\x89PNG no photo at all")
    save_png(folders / "dark" / "sliver.png", np.zeros((3, 90, 3), np.uint8))
    save_png(folders / "pairs" / "reference" / "p0.png", np.zeros((20, 30, 3), np.uint8))
    done = run(folders, tmp_path / "out")
    assert done.exit_code == 1 and "3 results are missing" in done.output
    table = pd.read_csv(tmp_path / "out" / "per_photo.csv")
    photos = table[table["method"] == "identity"]["photo"]
    assert len(photos) == 2 + 2 + 6 and not {"broken.png", "sliver.png"} & set(photos)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--unpaired", "x=nowhere"], "nowhere: there is no such folder"),
        (["--model", "x=nowhere.safetensors"], "nowhere.safetensors: there is no such weights file"),
        (["--outputs", "peer=nowhere"], "nowhere: there is no such folder; --outputs peer=DIR"),
        (["--unpaired", "pairs=DARK"], "there is a set called 'pairs' already"),
        (["--outputs", "CLAHE=DARK"], "two methods are called 'CLAHE'"),
    ],
)
def test_what_is_not_there_is_one_sentence(folders: Path, tmp_path: Path, more: list[str], sentence: str) -> None:
    done = run(folders, tmp_path / "out", *(each.replace("DARK", str(folders / "dark")) for each in more))
    assert isinstance(done.exception, UserError) and sentence in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_path_without_a_name_is_refused(folders: Path, tmp_path: Path) -> None:
    done = run(folders, tmp_path / "out", "--unpaired", folders / "dark")
    assert done.exit_code == 2 and "is not NAME=PATH" in done.output
    with pytest.raises(UserError, match="there is nothing to measure on"):
        quality.measure(quality.Inputs())


def test_without_well_lit_photos_niqe_is_left_out_and_said(folders: Path) -> None:
    result = quality.measure(quality.Inputs(unpaired=(("dark", folders / "dark"),)))
    text = tables.markdown(result, tables.summary(result, 0))
    assert "NIQE |" not in text and "- NIQE is left out, and 'gamma to mean' aims at 0.50" in text


def test_learned_metrics_are_used_where_they_are(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def difference(after: np.ndarray, reference: np.ndarray | None) -> float:
        return float(np.abs(after.astype(int) - (0 if reference is None else reference)).mean())

    found = [learned.Learned("lpips", True, difference), learned.Learned("clip_iqa", False, difference)]
    monkeypatch.setattr(learned, "available", lambda: (found, []))
    result = quality.measure(quality.Inputs(folders / "pairs", (("dark", folders / "dark"),)))
    table = result.rows.set_index(["set", "method", "photo"])
    assert table.loc[("pairs", "identity", "p0.png"), "lpips"] > 10
    assert np.isnan(table.loc[("dark", "identity", "other.png"), "lpips"])
    assert "| LPIPS |" in tables.markdown(result, tables.summary(result, 0))


def test_clipped_ratio_is_of_all_photos_together() -> None:
    ratio = tables.clipped_ratio(np.array([0.3, 0.1, 0.0]), np.array([0.2, 0.0, 0.0]), 0)
    assert ratio is not None and ratio["mean"] == pytest.approx(2) and ratio["low"] <= 2 <= ratio["high"]
    assert tables.clipped_ratio(np.array([0.3]), np.array([0.0]), 0) is None


def test_faults_start_at_the_limits() -> None:
    fine = {"set": "pairs", "noise_gain": 2.0, "clipped_high": 0.03, "clipped_high_input": 0.02, "hue_error": 2.0}
    fine |= {"level": 0.5, "psnr": 19.0, "psnr_gain": 0.0, "harm": np.nan}
    assert quality.faults(pd.Series(fine)) == {}
    bad = fine | {"noise_gain": 8.0, "clipped_high": 0.08, "psnr": 13.0, "psnr_gain": -3.0, "level": 0.15}
    assert quality.faults(pd.Series(bad)) == {"noise": 2, "clipping": 1, "dark": 2, "far": 2, "worse": 1}
    well_lit = fine | {"set": "well_lit", "psnr": np.nan, "psnr_gain": np.nan, "level": 0.1, "harm": 24.0}
    assert quality.faults(pd.Series(well_lit)) == {"harm": 2}


@pytest.mark.skipif(not (SHARED / "data" / "eval" / "pairs").is_dir(), reason="../shared is not there")
def test_the_protocol_gives_the_published_figures() -> None:
    with (SHARED / "peers" / "dev_pairs.csv").open(encoding="utf-8") as file:
        published = {row["photo"]: float(row["psnr_db"]) for row in csv.DictReader(file) if row["method"] == "input"}
    measured = []
    for sample in quality.collect(SHARED / "data" / "eval" / "pairs", (), None):
        before, reference = sample.load()
        assert reference is not None
        after = compare.gamma(before, compare.FIXED_GAMMA)
        measured.append([f(image, reference) for image in (before, after) for f in (metrics.psnr, metrics.ssim)])
        assert measured[-1][0] == pytest.approx(published[sample.photo], abs=6e-4)
    assert np.mean(measured, axis=0) == pytest.approx([10.32, 0.415, 17.15, 0.770], abs=6e-3)


def test_the_mild_set_is_the_well_lit_photos_a_stop_darker_with_themselves_as_references(
    folders: Path, tmp_path: Path
) -> None:
    well_lit = ["--well-lit", str(folders / "well_lit")]
    refused = CliRunner().invoke(
        bench, ["quality", "--unpaired", f"dark={folders / 'dark'}", "--mild", "-o", str(tmp_path)]
    )
    assert refused.exit_code != 0 and "--well-lit" in str(refused.exception)
    done = CliRunner().invoke(bench, ["quality", *well_lit, "--mild", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(tmp_path / "out" / "per_photo.csv").query("set == 'mild'").set_index(["photo", "method"])
    untouched = rows.xs("identity", level="method")
    assert (untouched["worse"] == 0).all() and (untouched["psnr_gain"] == 0).all()
    assert untouched["psnr"].between(8, 22).all()  # a stop, not more and not less
    blinding = rows.xs("gamma 0.45", level="method")
    assert (blinding["worse"] == (blinding["psnr_gain"] < -0.1)).all()
