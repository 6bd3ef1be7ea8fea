"""The stages select, evaluate and report on a small project, from files to files."""

import hashlib
import json
import re

import pandas as pd
import pytest

from cliplit.errors import UserError
from cliplit.evaluation import evaluate, report, select
from cliplit.evaluation.curves import curve
from cliplit.evaluation.gallery import chosen

STAGES = (select, evaluate, report)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_select_takes_the_best_round_and_of_equal_ones_the_earlier(project, params):
    select.run(params, project)
    choice = json.loads((project / "artifacts/model/choice.json").read_text())
    scores = {name: values["score"] for name, values in choice["scores"].items()}
    assert scores["1"] == scores["2"] > scores["0"]
    assert choice["round"] == "1"
    assert choice["better_than_identity"] is True
    assert (choice["backlit_photos"], choice["well_lit_photos"]) == (7, 7)
    model = (project / "artifacts/model/model.safetensors").read_bytes()
    assert model == (project / "artifacts/enhancer/1/network.safetensors").read_bytes()
    metrics = json.loads((project / "artifacts/metrics/select.json").read_text())
    assert metrics["score"] == scores["1"]
    assert metrics["gain"] == pytest.approx(scores["1"] - scores["identity"], abs=1e-5)


def test_best_prefers_the_earlier_of_ties():
    scores = {"0": {"score": -2.0}, "1": {"score": -1.0}, "2": {"score": -1.0}, "3": {"score": -1.0 - 1e-12}}
    assert select.best(("0", "1", "2", "3"), scores) == "1"


def test_evaluation_agrees_with_select_and_is_flat(project, params):
    select.run(params, project)
    evaluate.run(params, project)
    figures = json.loads((project / "artifacts/metrics/evaluation.json").read_text())
    assert all(isinstance(value, float) for value in figures.values())
    chosen_score = json.loads((project / "artifacts/metrics/select.json").read_text())["score"]
    assert figures["score"] == pytest.approx(chosen_score, abs=1e-5)
    assert figures["level_after"] > figures["level_before"]
    assert figures["pairs_n"] == 3
    assert figures["pairs_psnr_gain"] == pytest.approx(
        figures["pairs_psnr_ours"] - figures["pairs_psnr_input"], abs=1e-5
    )
    assert figures["harm_psnr_db_low"] <= figures["harm_psnr_db"] <= figures["harm_psnr_db_high"]
    table = pd.read_csv(project / "artifacts/evaluation/per_photo.csv")
    assert dict(table["set"].value_counts()) == {"backlit": 7, "well_lit": 7, "pairs": 3}
    assert table[table["set"] == "pairs"]["psnr_ours"].mean() == pytest.approx(figures["pairs_psnr_ours"], abs=1e-4)


def test_equal_inputs_give_equal_bytes(project, params):
    for stage in STAGES:
        stage.run(params, project)
    first = digests(project / "artifacts")
    assert {"report/report.html", "evaluation/gallery.json", "model/choice.json"} <= set(first)
    (project / "artifacts/evaluation/photos/stale.jpg").write_bytes(b"from an earlier run")
    for stage in STAGES:
        stage.run(params, project)
    assert digests(project / "artifacts") == first


def test_without_pairs_there_are_no_figures_on_pairs(project, params):
    for path in (project / "data/photos/pairs").rglob("*.jpg"):
        path.unlink()
    for stage in STAGES:
        stage.run(params, project)
    figures = json.loads((project / "artifacts/metrics/evaluation.json").read_text())
    assert figures["pairs_n"] == 0
    assert not [key for key in figures if key.startswith("pairs_psnr")]
    assert "PSNR on" not in (project / "artifacts/report/report.html").read_text(encoding="utf-8")


def test_gallery_shows_the_worst_first():
    backlit = {"set": "backlit", "value_before": 0.0, "structure": 1.0, "clipping_growth": 0.0}
    rows = [
        {**backlit, "photo": f"{i:02}.jpg", "value_after": float((i * 7) % 30), "level_before": 0.1, "level_after": 0.3}
        for i in range(30)
    ]
    picked = chosen(pd.DataFrame(rows))
    assert len(picked) >= 12
    assert [row["value_after"] for row, worst, _ in picked if worst] == [0, 1, 2, 3]
    assert [worst for _, worst, _ in picked] == sorted((worst for _, worst, _ in picked), reverse=True)
    assert len({row["photo"] for row, _, _ in picked}) == len(picked)
    assert "criterion +0.00" in picked[0][2]


def test_report_holds_everything_and_asks_for_nothing(project, params):
    for stage in STAGES:
        stage.run(params, project)
    page = (project / "artifacts/report/report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) > 20
    assert all(source.startswith("data:") for source in sources)
    assert page.count("worst case<") >= 3
    assert page.count('type="range"') >= 12
    assert "this model" in page
    assert str(project) not in page


def test_photo_names_cannot_inject_markup(project, params):
    table = project / "artifacts/dataset/manifest.csv"
    name = "backlit/<img onerror=alert(1)>.jpg"
    (project / "artifacts/dataset/photos/backlit/1.jpg").rename(project / "artifacts/dataset/photos" / name)
    table.write_text(table.read_text().replace("backlit/1.jpg", name), encoding="utf-8")
    for stage in STAGES:
        stage.run(params, project)
    page = (project / "artifacts/report/report.html").read_text(encoding="utf-8")
    assert "<img onerror" not in page
    assert "&lt;img onerror" in page


def test_missing_inputs_name_the_stage_to_run(project, params):
    with pytest.raises(UserError, match=r"model\.safetensors: .*run the stage select first"):
        evaluate.run(params, project)
    with pytest.raises(UserError, match=r"evaluation\.json: .*run the stage evaluate first"):
        report.run(params, project)
    (project / "artifacts/dataset/manifest.csv").unlink()
    with pytest.raises(UserError, match="run the stage curate first"):
        select.run(params, project)


def test_no_held_out_photo_names_the_key(project, params):
    table = project / "artifacts/dataset/manifest.csv"
    table.write_text(table.read_text().replace(",val,", ",train,"), encoding="utf-8")
    with pytest.raises(UserError, match=r"curate\.validation_fraction"):
        select.run(params, project)


def test_pair_of_two_shapes_is_named(project, params):
    select.run(params, project)
    source = project / "artifacts/dataset/photos/backlit/1.jpg"
    cropped = project / "data/photos/pairs/reference/1.jpg"
    from cliplit.photos.codecs import read_photo, save_jpeg

    save_jpeg(cropped, read_photo(source).pixels[:40])
    with pytest.raises(UserError, match=r"reference/1\.jpg: must have the shape"):
        evaluate.run(params, project)


def test_curve_by_hand(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n0,1\n10,nan\n20,3\n", encoding="utf-8")
    drawn = curve(path, "Loss")
    assert drawn.raw == "46.0,128.0 292.0,8.0"
    assert (drawn.low, drawn.high, drawn.steps) == ("1", "3", "20")
    assert curve(tmp_path / "absent.csv", "Loss") is None
    path.write_text("step,loss\n", encoding="utf-8")
    assert curve(path, "Loss") is None
