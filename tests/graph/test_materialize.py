"""What runs, what does not, and what is said when it fails."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml
from fast_project import FastProject

from assets.models import model_assets
from cliplit.lineage import registry
from cliplit.lineage.mlflow_store import VIEW
from pipelines.train import failure_sentence

ALL = ["curate", "start", "prompts_0", "enhancer_0", "prompts_1", "enhancer_1", "select", "evaluate", "report"]


def _metadata(result: dg.ExecuteInProcessResult, node: str) -> dict:
    return result.asset_materializations_for_node(node)[0].metadata


@pytest.mark.slow
def test_a_fresh_project_runs_every_stage_once_and_the_second_time_none(fresh: FastProject) -> None:
    fresh.set_param("rounds", {"1": yaml.safe_load((fresh.path / "params.yaml").read_text())["rounds"]["1"]})
    first = fresh.materialize()
    assert first.success, failure_sentence(first)
    assert fresh.ran == ALL
    assert not _metadata(first, "evaluate")["cache_hit"].value
    fresh.forget()
    second = fresh.materialize()
    assert second.success and fresh.ran == []
    metadata = _metadata(second, "evaluate")
    assert metadata["cache_hit"].value and metadata["score"].value == 0.7


def test_stages_know_the_dagster_run(trained: FastProject) -> None:
    trained.set_param("enhancer.steps", 1)
    result = trained.materialize("enhancer-0")
    assert result.run_id in (trained.path / "work" / "invocations.txt").read_text()


@pytest.mark.slow
def test_changing_round_2_leaves_rounds_0_and_1_cached(trained: FastProject) -> None:
    trained.set_param("rounds.2.enhancer.learning_rate", 0.9)
    result = trained.materialize("enhancer-0", "prompts@1", "enhancer@1", "prompts@2", "enhancer@2", "select")
    assert result.success, failure_sentence(result)
    assert trained.ran == ["enhancer_2", "select"]
    assert _metadata(result, "enhancer_1")["cache_hit"].value
    assert not _metadata(result, "enhancer_2")["cache_hit"].value


def test_the_users_mistake_is_one_sentence_in_the_failure(trained: FastProject) -> None:
    trained.set_param("seed", 7)
    trained.misbehave("curate", "fail")
    result = trained.materialize("curate", "prompts-0")
    assert not result.success and trained.ran == ["curate"]
    assert failure_sentence(result) == "data/photos/backlit: there is no photo in it; import some"


def test_a_crash_names_the_exception(trained: FastProject) -> None:
    trained.set_param("seed", 7)
    trained.misbehave("curate", "crash")
    assert failure_sentence(trained.materialize("curate")).startswith("curate: ValueError: shapes differ (")


def test_missing_upstream_files_are_named(fresh: FastProject) -> None:
    sentence = failure_sentence(fresh.materialize("select"))
    assert sentence.startswith("select: ") and "artifacts/dataset" in sentence


def test_a_loss_that_is_not_finite_blocks_what_follows(trained: FastProject) -> None:
    trained.set_param("prompts.steps", 7)
    trained.misbehave("prompts_0", "nan")
    result = trained.materialize("prompts-0", "enhancer-0")
    assert not result.success and trained.ran == ["prompts_0"]
    assert "prompts_0.csv: 'loss' is not finite from step 1 on" in failure_sentence(result)


def test_a_scene_in_both_splits_blocks_what_follows(trained: FastProject) -> None:
    trained.set_param("seed", 7)
    trained.misbehave("curate", "leak")
    result = trained.materialize("curate", "prompts-0")
    assert not result.success and trained.ran == ["curate"]
    assert "scene backlit_same stands in train and in val" in failure_sentence(result)


def test_the_champion_says_whether_it_was_promoted(trained: FastProject, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.Version(3, "abc.dir", "def.dir", None, 0.0, ("challenger",), {"score": 0.7})
    outcome = registry.Promotion(False, "score 0.7 does not beat the champion's 0.8 by more than 0", version, version)
    monkeypatch.setattr(registry, "register_challenger", lambda project, draw: version)
    monkeypatch.setattr(registry, "promote", lambda project, judge: outcome)
    result = dg.materialize(model_assets(trained.path))
    metadata = _metadata(result, "champion")
    assert metadata["promoted"].value is False and "does not beat" in metadata["reason"].value
    assert metadata["version"].value == 3 and metadata["mlflow"].value.endswith(f"/#/models/cliplit/versions/3{VIEW}")
    challenger = result.asset_materializations_for_node("challenger")[0]
    assert challenger.tags["dagster/data_version"] == "abc.dir"


def test_a_model_that_cannot_be_registered_fails_with_the_sentence(trained: FastProject) -> None:
    (trained.path / "artifacts/model/model.safetensors").write_bytes(b"other")
    result = dg.materialize(model_assets(trained.path), raise_on_error=False)
    assert failure_sentence(result).startswith("artifacts/model: its bytes have md5 ")
