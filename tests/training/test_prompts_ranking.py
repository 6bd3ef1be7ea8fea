"""The picture of prompts says what they see: what training measured, the order, and which photos they take wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assets.previews import LIMIT, stage_preview
from cliplit.config import load_params
from cliplit.evaluation import charts, ranking
from cliplit.lineage.graph import Stage
from cliplit.stages import run_stage


def has(pixels: np.ndarray, colour: charts.Colour) -> bool:
    return bool((pixels == colour).all(-1).any())


def test_the_ranking_is_what_the_stage_measured(project: Path) -> None:
    run_stage("prompts", "0", project)
    params = load_params(project / "params.yaml")
    features = {path: path.stat().st_ino for path in (project / "work/features").iterdir()}
    ranked = ranking.rank(params, project, "0")
    assert {path: path.stat().st_ino for path in (project / "work/features").iterdir()} == features  # not made again
    measured = json.loads((project / "artifacts/metrics/prompts_0.json").read_text())
    for role in ("backlit", "well_lit"):
        found = [one.probability for one in ranked if one.row.role == role]
        assert len(found) == 2
        assert np.mean(found) == pytest.approx(measured[f"val_backlit_probability_{role}"], abs=1e-5)
    assert [one.row.role for one in ranked] == ["backlit"] * 2 + ["well_lit"] * 2
    assert [one.log_odds for one in ranked] == sorted((one.log_odds for one in ranked), reverse=True)
    assert all(one.wrong < 0 for one in ranked) and measured["val_accuracy"] == 1.0


def test_the_picture_has_rows_of_both_ends_and_of_what_is_taken_wrongly(project: Path) -> None:
    run_stage("prompts", "0", project)
    ranked = ranking.rank(load_params(project / "params.yaml"), project, "0")
    picture = np.asarray(ranking.ranking_picture(project, ranked))
    assert has(picture, charts.GREY) and has(picture, charts.ORANGE)
    best_lit = picture[-300:-160]
    assert has(best_lit, charts.GREY) and not has(best_lit, charts.ORANGE)
    (worst,) = [one for one in ranked if one.row.photo == "well_lit/1.jpg"]
    lost = [ranking.Ranked(worst.row, 30.0), *(one for one in ranked if one is not worst)]
    assert lost[0].wrong == 30.0
    most_backlit = np.asarray(ranking.ranking_picture(project, lost))[130:280]
    assert has(most_backlit, charts.GREY) and has(most_backlit, charts.ORANGE)


def test_dagster_shows_it_small(project: Path) -> None:
    run_stage("prompts", "0", project)
    stage = Stage("prompts-0", "0", "", (), (), (), (), (), "", {})
    shown = stage_preview(project, stage)
    assert shown is not None and str(shown.value).startswith("![preview](data:image/jpeg;base64,")
    assert len(str(shown.value)) < LIMIT
