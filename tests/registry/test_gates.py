"""The gates of promotion, on real photos and with real networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner

from assets.gates import gate_checks
from assets.models import WAITING, model_assets
from cliplit.commands.models import models
from cliplit.config import NetworkConfig, load_params
from cliplit.enhancer import SHIPPED, Enhancer
from cliplit.errors import UserError
from cliplit.evaluation import evaluate
from cliplit.lineage import registry
from cliplit.networks import build_network, load_network, save_network
from cliplit.promotion import gates, hostile, measure
from cliplit.promotion.gain import gain, values
from pipelines.rollback import rollback_job
from pipelines.train import refusals

_GRID = NetworkConfig(kind="grid", max_gain=8.0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a curated dataset of demo photos, and pairs."""
    from cliplit.photos.demo import render_demo
    from cliplit.stages import run_stage

    path = tmp_path_factory.mktemp("photos")
    root = Path(__file__).parents[2]
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["curate"] |= {"long_side": 128, "validation_fraction": 0.5}
    params["device"] = "cpu"
    (path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    render_demo(path, count=8, pairs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPLIT_TRACKING", "off")
        run_stage("curate", None, path)
    return path


@pytest.fixture
def challenged(project, photos: Path) -> Callable[..., registry.Challenge]:
    """Registers a weights file as challenger; project has photos to measure on."""
    for name in ("artifacts/dataset", "data"):
        shutil.copytree(photos / name, project.path / name)
    shutil.copy(photos / "params.yaml", project.path / "params.yaml")

    def register(weights: Path, seed: int = 0) -> registry.Challenge:
        project.trained(seed, 0.5)
        shutil.copy(weights, project.path / "artifacts/model/model.safetensors")
        project.lock("d" * 32)
        registry.register_challenger(project.path)
        return registry.challenge(project.path)

    return register


def _set(project, **promotion: object) -> None:
    path = project.path / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["promotion"] |= promotion
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def _network(path: Path, change: Callable[[torch.nn.Module], None] = lambda network: None) -> Path:
    """The shipped network, changed."""
    network, config = load_network(SHIPPED, torch.device("cpu"))
    with torch.no_grad():
        change(network)
    save_network(network, config, path)
    return path


def _poisoned(network: torch.nn.Module) -> None:
    next(iter(network.parameters())).view(-1)[0] = float("nan")


def test_the_shipped_network_passes_every_gate_as_first_champion(challenged, project):
    verdicts = gates.judge(project.path, challenged(SHIPPED))
    assert [verdict.gate for verdict in verdicts] == list(gates.GATES)
    for verdict in verdicts:
        print(f"{verdict.gate}: {verdict.reason}")
        assert verdict.passed, verdict
    assert "against the photos as they were taken" in verdicts[0].reason
    assert verdicts[0].figures["gain"] > verdicts[0].figures["gain_low"] > 0
    again = registry.promote(project.path, lambda challenge: gates.judge(project.path, challenge))
    assert again.promoted and again.verdicts[0].passed
    assert "reigns already" in gates.ask("beats_champion", project.path, registry.challenge(project.path)).reason


def test_an_equal_network_does_not_beat_the_champion(challenged, project, tmp_path):
    challenged(SHIPPED)
    assert registry.promote(project.path, lambda challenge: gates.judge(project.path, challenge)).promoted

    def nudge(network):
        next(iter(network.parameters())).mul_(1 + 1e-6)

    challenge = challenged(_network(tmp_path / "same.safetensors", nudge), 1)
    outcome = registry.promote(project.path, lambda found: gates.judge(project.path, found))
    assert not outcome.promoted and "not surely more than 0" in outcome.reason and "against version 1" in outcome.reason
    assert challenge.champion.number == 1


def test_the_gain_is_the_difference_of_the_figures_and_its_interval_that_of_pairs():
    rng = np.random.default_rng(1)

    def table(shift: float) -> pd.DataFrame:
        names = [f"{number}.jpg" for number in range(8)]
        backlit = pd.DataFrame({"photo": names, "set": "backlit"})
        level = np.linspace(-3, 3, 8)
        for column in ("light_before", "light_after", "structure", "clipping_growth", "value_before", "value_after"):
            backlit[column] = level + (shift if column == "value_after" else 0)
        for column in ("level", "clipped_high", "clipped_low"):
            backlit[f"{column}_before"] = backlit[f"{column}_after"] = 0.1
        well_lit = pd.DataFrame({"photo": names, "set": "well_lit", "harm_psnr_db": [20.0, 25.0, *[40.0] * 6]})
        pairs = pd.DataFrame({"photo": names[:3], "set": "pairs"})
        for method in evaluate.METHODS:
            pairs[f"psnr_{method}"] = rng.uniform(10, 20, 3)
            pairs[f"ssim_{method}"] = 0.5
        return pd.concat([backlit, well_lit, pairs], ignore_index=True)

    ours, theirs = table(0.3), table(0.0)
    figures, before = evaluate.figures(ours), evaluate.figures(theirs)
    for metric in (
        "score",
        "score_gain",
        "value_gain",
        "harm_psnr_db",
        "structure",
        "pairs_psnr_gain",
        "pairs_ssim_ours",
    ):
        means = sum(float(part.mean()) for part in values(ours, metric).values())
        assert means == pytest.approx(figures[metric], abs=1e-5), metric
        assert gain(ours, theirs, metric).mean == pytest.approx(figures[metric] - before[metric], abs=1e-5)
    found = gain(ours, theirs, "score")
    assert (found.low, found.high, found.n) == (
        pytest.approx(0.3),
        pytest.approx(0.3),
        16,
    )  # the photos' spread cancels
    with pytest.raises(UserError, match=r"promotion\.metric is 'psnr'"):
        values(ours, "psnr")
    with pytest.raises(ValueError, match="different photos"):
        gain(ours, theirs.iloc[::-1], "score")


def test_unchanged_photos_are_the_rival_of_the_first_champion(challenged, project):
    challenged(SHIPPED)
    params = load_params(project.path / "params.yaml")
    table = measure.per_photo(params, project.path, None)
    backlit = table[table["set"] == "backlit"]
    assert (backlit["value_after"] - backlit["value_before"]).abs().max() < 1e-9
    assert set(table.loc[table["set"] == "well_lit", "harm_psnr_db"]) == {99.0}
    (kept,) = (project.path / "work/measured").glob("*.csv")
    kept.write_text(kept.read_text().replace("99.0", "98.0"))
    assert 98.0 in set(measure.per_photo(params, project.path, None)["harm_psnr_db"])  # measured once


def test_a_network_that_changes_well_lit_photos_is_refused(challenged, project, weights):
    verdict = gates.ask("harms_no_well_lit_photo", project.path, challenged(weights))
    assert not verdict.passed and verdict.figures["share_below"] > 0.2
    _set(project, min_harmless_db=5.0)
    assert gates.ask("harms_no_well_lit_photo", project.path, registry.challenge(project.path)).passed


def test_limits_of_time_and_size(challenged, project):
    challenge = challenged(SHIPPED)
    assert gates.ask("fast_and_small", project.path, challenge).figures["megabytes"] > 0.01
    _set(project, max_ms_per_megapixel=0.1)
    slow = gates.ask("fast_and_small", project.path, challenge)
    assert not slow.passed and "promotion.max_ms_per_megapixel: 0.1" in slow.reason
    _set(project, max_ms_per_megapixel=1e9, max_megabytes=0.001)
    assert not gates.ask("fast_and_small", project.path, challenge).passed


def test_not_a_number_in_one_weight_is_found_by_hostile_photos(challenged, project, tmp_path):
    challenge = challenged(_network(tmp_path / "nan.safetensors", _poisoned))
    verdict = gates.ask("survives_hostile_photos", project.path, challenge)
    assert not verdict.passed and "not finite" in verdict.reason


def test_a_crash_and_a_wrong_shape_are_found_by_hostile_photos():
    class Fragile(Enhancer):
        def enhance_photo(self, photo, strength=1.0):
            height, width = photo.pixels.shape[:2]
            if width == 1 and height == 1:
                raise ZeroDivisionError("no pixels left")
            return replace(photo, pixels=photo.pixels[:, :4000])

    found, count = hostile.faults(Fragile(build_network(_GRID)))
    assert any(fault.startswith("1x1: ZeroDivisionError") for fault in found)
    assert any(fault.startswith("1x5000: (1, 5000, 3) uint8 became (1, 4000, 3)") for fault in found)
    assert count > len(found)


def test_other_bytes_than_dvc_lock_names_are_refused(challenged, project):
    challenge = challenged(SHIPPED)
    weights = project.path / "artifacts/model/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    verdict = gates.ask("bytes_match_dvc_lock", project.path, challenge)
    assert not verdict.passed and "dvc.lock says" in verdict.reason
    project.lock("d" * 32)  # as if these were the bytes that DVC knew
    verdict = gates.ask("bytes_match_dvc_lock", project.path, challenge)
    assert not verdict.passed and "run `cliplit models register`" in verdict.reason


def _materialize(project, *keys: str, **options: object) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(
        assets=model_assets(project.path),
        asset_checks=gate_checks(project.path),
        jobs=[dg.define_asset_job("train", selection=dg.AssetSelection.groups("models")), rollback_job(project.path)],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        chosen = [dg.AssetKey(key) for key in keys]
        job = definitions.resolve_implicit_global_asset_job_def() if keys else definitions.resolve_job_def("train")
        return job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=chosen or None)


@pytest.mark.slow
def test_a_gate_that_fails_blocks_the_champion_in_dagster(challenged, project, aliases):
    challenged(SHIPPED)
    _set(project, max_megabytes=0.001)
    result = _materialize(project)
    assert not result.success and aliases() == {"challenger": 1}
    assert [check.check_name for check in result.get_asset_check_evaluations() if not check.passed] == [
        "fast_and_small"
    ]
    assert len(refusals(result)) == 1 and "MB (promotion.max_megabytes: 0.001)" in refusals(result)[0]
    _set(project, max_megabytes=20)
    result = _materialize(project)
    assert result.success and aliases() == {"challenger": 1, "champion": 1} and refusals(result) == []
    assert all(check.blocking for check in result.get_asset_check_evaluations())


@pytest.mark.slow
def test_manual_promotion_waits_for_the_champion_alone(challenged, project, aliases, capsys):
    challenged(SHIPPED)
    _set(project, mode="manual")
    result = _materialize(project)
    assert result.success and aliases() == {"challenger": 1} and WAITING in capsys.readouterr().out
    assert not result.asset_materializations_for_node("champion")
    result = _materialize(project, "champion")
    assert result.success and aliases() == {"challenger": 1, "champion": 1}


def test_promotion_by_hand_asks_the_same_gates(challenged, project, aliases):
    challenged(SHIPPED)
    _set(project, mode="manual", max_megabytes=0.001)
    run = CliRunner().invoke
    refused = run(models, ["promote"])
    assert refused.exit_code == 0 and "promotion.max_megabytes" in refused.output and "champion" not in aliases()
    _set(project, max_megabytes=20)
    done = run(models, ["promote"])
    assert "Version 1 is the champion now" in done.output and aliases()["champion"] == 1


def test_a_champion_whose_bytes_are_lost_does_not_reign_for_ever(challenged, project, aliases, tmp_path):
    challenged(SHIPPED)
    assert registry.promote(project.path, lambda found: gates.judge(project.path, found)).promoted
    weights = registry.champion_file(project.path)

    def nudge(network):
        next(iter(network.parameters())).mul_(1 + 1e-6)

    challenged(_network(tmp_path / "next.safetensors", nudge), 1)
    run = CliRunner().invoke
    whole = run(models, ["promote", "--without-champion"])
    assert "against version 1" in whole.output and "Nothing changed" in whole.output, "there is a champion to beat"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    refused = run(models, ["promote"])
    assert refused.exit_code == 0 and aliases() == {"challenger": 2, "champion": 1}
    assert "FAILED  beats_champion: version 1, which reigns, cannot be compared with" in refused.output
    assert "not those that DVC recorded" in refused.output and "--without-champion" in refused.output
    assert refused.output.count("passed  ") == 4, "the other gates are asked all the same"
    _set(project, max_megabytes=0.001)
    assert "Nothing changed" in run(models, ["promote", "--without-champion"]).output
    _set(project, max_megabytes=20)
    done = run(models, ["promote", "--without-champion"])
    assert "against the photos as they were taken" in done.output and aliases()["champion"] == 2
    assert "it was not compared with version 1, whose bytes are lost" in done.output


def test_compare_prints_both_models_with_intervals(challenged, project, weights):
    challenged(SHIPPED)
    registry.promote(project.path, lambda challenge: [])
    challenged(weights, 1)
    run = CliRunner().invoke
    shown = run(models, ["compare", "champion", "challenger"])
    header, *rows = shown.output.splitlines()
    assert header.split() == ["figure", "version", "1", "version", "2", "difference", "photos"]
    assert rows[0].startswith("score") and rows[0].count("[") == 3
    found = json.loads(run(models, ["compare", "champion", "input", "--json"]).output)
    score = found["rows"][0]
    assert found["second"] is None and score["figure"] == "score"
    assert score["difference"]["mean"] == pytest.approx(score["first"]["mean"] - score["second"]["mean"])
    assert score["difference"]["low"] <= score["difference"]["mean"] <= score["difference"]["high"]
