"""curate: duplicates, scenes, roles, splits and the files that it writes."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cliplit.config import Params
from cliplit.errors import UserError
from cliplit.photos import codecs
from cliplit.photos.codecs import save_jpeg, save_png
from cliplit.photos.curate import MANIFEST_COLUMNS, load_manifest, load_pixels, run
from cliplit.photos.hashing import bracket_name, bracket_names, close_pairs, connected, perceptual_hash, seeded_fraction
from cliplit.photos.importing import import_photos

SHARED = Path(__file__).parents[3] / "shared" / "data"
Draw = Callable[..., np.ndarray]


@pytest.fixture
def project(tmp_path: Path, folders: dict[str, Path]) -> Path:
    import_photos(folders["backlit"], folders["well_lit"], project=tmp_path / "project")
    return tmp_path / "project"


def rejected(project: Path) -> dict[str, str]:
    table = pd.read_csv(project / "artifacts/dataset/rejected.csv")
    return dict(zip(table["source"], table["reason"], strict=True))


def metrics(project: Path) -> dict[str, float]:
    return json.loads((project / "artifacts/metrics/dataset.json").read_text())


def outputs(project: Path) -> dict[str, bytes]:
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted((project / "artifacts").rglob("*"))
        if path.is_file()
    }


def test_manifest_and_photos_agree(project: Path, params: Params, picture: Draw) -> None:
    save_jpeg(project / "data/photos/backlit/wide.jpg", picture(60, 0.15, (300, 900)))
    run(params, project)
    manifest = load_manifest(project)
    assert list(manifest.columns) == MANIFEST_COLUMNS
    assert manifest["photo"].is_monotonic_increasing and len(manifest) == 21
    pixels = load_pixels(project, manifest["photo"])
    assert all(image.dtype == np.uint8 and max(image.shape) <= params.curate.long_side for image in pixels)
    wide = manifest[manifest["source"] == "backlit/wide.jpg"].iloc[0]
    assert (wide["width"], wide["height"]) == (900, 300)
    assert wide["mean_level"] == pytest.approx(0.15, abs=0.02)
    assert {path.name for path in (project / "artifacts/dataset").iterdir()} == {
        "manifest.csv", "rejected.csv", "contact_sheet.jpg", "photos",
    }  # fmt: skip
    counts = metrics(project)
    assert counts["backlit_train"] + counts["backlit_val"] == 11 and counts["scenes"] == 21
    assert not list((project / "work").rglob("*.jpg"))


def test_equal_photos_give_equal_bytes(project: Path, params: Params) -> None:
    run(params, project)
    first = outputs(project)
    run(params, project)
    assert outputs(project) == first


def test_split_holds_out_whole_scenes_and_survives_new_photos(project: Path, params: Params, picture: Draw) -> None:
    for k in range(30):
        save_jpeg(project / f"data/photos/well_lit/w{k + 50}.jpg", picture(3000 + k, 0.5))
    for k in (1, 2):  # two pictures that only the name rule can join
        save_jpeg(project / f"data/photos/backlit/hall7_{k}_backlit.jpg", picture(4000 + k, 0.15))
    run(params, project)
    before = load_manifest(project).set_index("photo")
    assert (before.groupby("scene")["split"].nunique() == 1).all()
    assert before.loc["backlit/hall7_1_backlit.jpg", "scene"] == before.loc["backlit/hall7_2_backlit.jpg", "scene"]
    assert (before.groupby(["role", "split"]).size().unstack() >= [4, 2]).all().all()
    for k in range(10):
        save_jpeg(project / f"data/photos/well_lit/new{k}.jpg", picture(5000 + k, 0.5))
    run(params, project)
    after = load_manifest(project).set_index("photo")
    well_lit = before[before["role"] == "well_lit"].index
    assert len(after) == len(before) + 10
    assert (after.loc[well_lit, "split"] == before.loc[well_lit, "split"]).all()
    other = dataclasses.replace(params, seed=params.seed + 1)
    run(other, project)
    assert (load_manifest(project).set_index("photo")["split"] != after["split"]).any()


def test_duplicates_within_a_role_are_dropped_once(project: Path, params: Params, picture: Draw) -> None:
    save_png(project / "data/photos/backlit/b3_again.png", picture(3, 0.15, (96, 128)))
    run(params, project)
    assert rejected(project) == {"backlit/b3_again.png": "duplicate of backlit/b3.jpg"}
    assert metrics(project)["duplicates"] == 1
    assert not (project / "artifacts/dataset/photos/backlit/b3_again.jpg").exists()


def test_other_exposure_across_roles_is_one_scene(project: Path, params: Params, picture: Draw) -> None:
    save_jpeg(project / "data/photos/well_lit/lit.jpg", picture(3, 0.45))
    run(params, project)
    manifest = load_manifest(project).set_index("photo")
    assert manifest.loc["backlit/b3.jpg", "scene"] == manifest.loc["well_lit/lit.jpg", "scene"]
    assert manifest.loc["backlit/b3.jpg", "split"] == manifest.loc["well_lit/lit.jpg", "split"]


def test_one_photo_in_both_roles_is_rejected_from_both(project: Path, params: Params) -> None:
    shutil.copy(project / "data/photos/backlit/b3.jpg", project / "data/photos/well_lit/copy.jpg")
    run(params, project)
    reasons = rejected(project)
    assert set(reasons) == {"backlit/b3.jpg", "well_lit/copy.jpg"}
    assert all("stands in both roles" in reason for reason in reasons.values())
    assert metrics(project)["in_both_roles"] == 2


def test_scenes_of_evaluation_pairs_are_kept_out(project: Path, params: Params, picture: Draw) -> None:
    pairs = project / "data/photos/pairs"
    for side, level in (("backlit", 0.12), ("reference", 0.5)):
        save_jpeg(pairs / side / "scene4.jpg", picture(4, level))
        save_jpeg(pairs / side / "tower12_3_under.jpg", picture(800, level))
    save_jpeg(pairs / "backlit" / "alone.jpg", picture(801, 0.15))
    save_jpeg(project / "data/photos/backlit/tower12_9_backlit.jpg", picture(802, 0.15))
    run(params, project)
    reasons = rejected(project)
    assert reasons["backlit/b4.jpg"] == "shows the scene of the evaluation pair scene4.jpg"
    assert "tower12_3_under.jpg, says its name" in reasons["backlit/tower12_9_backlit.jpg"]
    assert "other photo of this pair is missing" in reasons["pairs/backlit/alone.jpg"]
    assert len(reasons) == 3 and metrics(project)["pairs"] == 2


def test_unreadable_photos_are_rejected_with_the_reason(project: Path, params: Params) -> None:
    (project / "data/photos/backlit/text.jpg").write_text("milk, bread")
    (project / "data/photos/backlit/zero.jpg").write_bytes(b"")
    run(params, project)
    reasons = rejected(project)
    assert "not a photo" in reasons["backlit/text.jpg"] and "empty" in reasons["backlit/zero.jpg"]
    assert metrics(project)["unreadable"] == 2


def test_photos_of_the_wrong_role_are_reported(project: Path, params: Params, picture: Draw) -> None:
    save_jpeg(project / "data/photos/backlit/bright.jpg", picture(70, 0.55))
    save_jpeg(project / "data/photos/well_lit/dark.jpg", picture(71, 0.12))
    run(params, project)
    table = pd.read_csv(project / "artifacts/dataset/rejected.csv")
    assert set(table.loc[table["kind"] == "suspect", "source"]) == {"backlit/bright.jpg", "well_lit/dark.jpg"}
    assert metrics(project)["backlit_suspects"] == metrics(project)["well_lit_suspects"] == 1
    assert len(load_manifest(project)) == 22


def test_exchanged_folders_are_refused(project: Path, params: Params) -> None:
    photos = project / "data/photos"
    (photos / "backlit").rename(photos / "other")
    (photos / "well_lit").rename(photos / "backlit")
    (photos / "other").rename(photos / "well_lit")
    with pytest.raises(UserError, match="data/photos/backlit: 10 of 10 photos have no dark part.*exchanged"):
        run(params, project)


def test_too_few_photos_are_refused_and_nothing_is_lost(project: Path, params: Params) -> None:
    run(params, project)
    before = outputs(project)
    folder = project / "data/photos/backlit"
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    with pytest.raises(UserError, match="data/photos/backlit: 1 of its 1 photos can be used, at least 6"):
        run(params, project)
    next(folder.iterdir()).unlink()
    with pytest.raises(UserError, match="data/photos/backlit: the folder is empty; run 'cliplit photos import'"):
        run(params, project)
    folder.rmdir()
    with pytest.raises(UserError, match="does not exist"):
        run(params, project)
    assert outputs(project) == before
    with pytest.raises(UserError, match="run the curate stage first"):
        load_manifest(project / "elsewhere")


def test_same_photos_in_both_roles_are_refused(project: Path, params: Params) -> None:
    shutil.rmtree(project / "data/photos/well_lit")
    shutil.copytree(project / "data/photos/backlit", project / "data/photos/well_lit")
    with pytest.raises(UserError, match=r"hold the same photos \(10 of 10\)"):
        run(params, project)


def test_one_scene_only_is_refused(project: Path, params: Params, picture: Draw) -> None:
    for path in (project / "data/photos/backlit").iterdir():
        path.unlink()
    for k in range(7):
        save_jpeg(project / f"data/photos/backlit/hall7_{k}_backlit.jpg", picture(4000 + k, 0.15))
    with pytest.raises(UserError, match="data/photos/backlit: its photos show 1 scenes"):
        run(params, project)


def test_full_disk_keeps_the_earlier_dataset(project: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    run(params, project)
    before = outputs(project)

    def full(self: Path, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(codecs.Path, "write_bytes", full)
    with pytest.raises(UserError, match="no space left"):
        run(params, project)
    assert outputs(project) == before
    assert not list((project / "work").rglob("*.*"))


@pytest.mark.parametrize(
    ("stem", "scene"),
    [
        ("sice_s000_96_backlit", "sice_s000"),
        ("sice_s000_108_under", "sice_s000"),
        ("Hall_under", "hall"),
        ("hall-ev-2", "hall"),
        ("hall_exp3", "hall"),
        ("IMG_0012_backlit", "img_0012"),
        ("1_backlit", "1"),
        ("IMG_0012", None),
        ("bsds_102062", None),
        ("backlit", None),
        ("in_n01629819_European_fire_salamander", None),
    ],
)
def test_bracket_names(stem: str, scene: str | None) -> None:
    assert bracket_name(stem) == scene


def test_large_groups_of_names_are_no_bracket() -> None:
    assert bracket_names(f"day1_{k}_backlit" for k in range(12)) == {f"day1_{k}_backlit": "day1" for k in range(12)}
    assert bracket_names(f"day1_{k}_backlit" for k in range(13)) == {}


def test_hash_is_close_for_the_same_picture_only(picture: Draw) -> None:
    same = [perceptual_hash(picture(5, level, size)) for level, size in ((0.5, (96, 128)), (0.2, (96, 128)))]
    others = [perceptual_hash(picture(seed, 0.5)) for seed in range(20, 40)]
    assert (same[0] ^ same[1]).bit_count() <= 6
    assert close_pairs(same[:1], others, 6) == []
    assert close_pairs([0b1111], [0, 0b1, 0b10111], 2) == [(0, 2)]


def test_connected_and_seeded_fraction() -> None:
    assert connected(6, [(4, 2), (2, 1), (5, 3)]) == [0, 1, 1, 3, 1, 3]
    values = [seeded_fraction(0, f"scene{k}") for k in range(2000)]
    assert np.mean(np.array(values) < 0.15) == pytest.approx(0.15, abs=0.03)
    assert seeded_fraction(0, "a") == seeded_fraction(0, "a") != seeded_fraction(1, "a")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos of ../shared/data are not here")
def test_real_photos(tmp_path: Path, params: Params) -> None:
    for name, target in (("train/backlit", "backlit"), ("train/well_lit", "well_lit")):
        (tmp_path / "data/photos" / target).mkdir(parents=True)
        for path in sorted((SHARED / name).iterdir())[:60]:
            shutil.copy(path, tmp_path / "data/photos" / target)
    shutil.copytree(SHARED / "eval/pairs", tmp_path / "data/photos/pairs")
    run(params, tmp_path)
    counts = metrics(tmp_path)
    assert counts["pairs"] == 40 and counts["unreadable"] == 0 and counts["in_both_roles"] == 0
    assert counts["backlit_suspects"] + counts["well_lit_suspects"] == 0
    assert counts["backlit_mean_level"] < 0.3 < counts["well_lit_mean_level"]
    manifest = load_manifest(tmp_path)
    brackets = manifest[manifest["role"] == "backlit"]
    assert (brackets["scene"] == brackets["source"].str.extract(r"(sice_s\d+)")[0]).all()
