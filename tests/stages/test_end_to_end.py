"""From demo photos to the champion with the real stages, through Dagster and through DVC alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image, ImageChops
from stages_project import Project, executed, materialize

from assets.project import stage_key
from cliplit.config import load_params
from cliplit.evaluation import evaluate
from cliplit.lineage import digests, dvc, graph, registry
from cliplit.lineage import mlflow_store as store
from cliplit.promotion import measure

pytestmark = pytest.mark.slow

Trained = tuple[Path, dg.ExecuteInProcessResult]


def _materializations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    made = [event.materialization for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    return {one.asset_key.to_user_string(): one for one in made}


def _runs(path: Path) -> tuple[Any, list[Any]]:
    client = store.make_client(path)
    return client, client.search_runs([store.experiment_id(client, path)])


def test_everything_runs_once_up_to_the_champion(trained_once: Trained) -> None:
    path, result = trained_once
    assert result.success
    assert all(executed(result).values()) and len(executed(result)) == len(graph.stages(path))
    assert all(check.passed for check in result.get_asset_check_evaluations())
    champion = registry.champion_file(path)
    assert champion is not None
    assert champion.read_bytes() == (path / "artifacts/model/model.safetensors").read_bytes()


def test_md5s_in_dvc_lock_equal_dagsters_data_versions_and_mlflows_tags(trained_once: Trained) -> None:
    path, result = trained_once
    made = _materializations(result)
    _, runs = _runs(path)
    tagged = {run.data.tags.get("cliplit.stage"): run.data.tags.get("dvc.md5") for run in runs}
    for stage in graph.stages(path):
        md5 = dvc.outputs_md5(path, stage.name)
        key = stage_key(stage).to_user_string()
        assert made[key].tags["dagster/data_version"] == md5 == tagged[stage.name], stage.name
        assert digests.path_md5(path / stage.outs[0]) == md5
    model = dvc.outputs_md5(path, "select")
    for name in ("challenger", "champion"):
        assert made[name].tags["dagster/data_version"] == model == tagged[name]
    (version,) = registry.list_versions(path)
    assert version.md5 == model and version.dataset_md5 == dvc.outputs_md5(path, "curate")


def test_mlflow_holds_one_parent_with_a_child_for_each_asset(trained_once: Trained) -> None:
    path, result = trained_once
    client, runs = _runs(path)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["cliplit.stage"]: run for run in runs if run is not parent}
    assert set(children) == {stage.name for stage in graph.stages(path)} | {"challenger", "champion"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.tags["cliplit.pipeline_run"] == result.run_id
    assert all(len(run.data.tags["cliplit.git_commit"]) >= 40 for run in (parent, children["curate"]))
    score = json.loads((path / "artifacts/metrics/evaluation.json").read_text())["score"]
    assert parent.data.metrics["score"] == children["evaluate"].data.metrics["score"] == pytest.approx(score)
    assert parent.data.params["rounds.2.enhancer.steps"] == "3"
    assert len(client.get_metric_history(children["enhancer@1"].info.run_id, "loss")) == 3

    def files(run: Any, folder: str | None = None) -> set[str]:
        return {entry.path for entry in client.list_artifacts(run.info.run_id, folder)}

    assert "dvc.lock" in files(parent)
    lock = Path(client.download_artifacts(parent.info.run_id, "dvc.lock"))
    assert lock.read_bytes() == (path / "dvc.lock").read_bytes()
    for name in ("curate", "enhancer-0", "enhancer@2", "evaluate"):
        assert len(files(children[name], "images")) == 1, name
    assert {"report.html", "dvc.lock"} <= files(children["report"])


def test_dagster_shows_numbers_pictures_and_the_way_to_mlflow(trained_once: Trained) -> None:
    made = _materializations(trained_once[1])
    for name in ("curate", "enhancer_0", "enhancer_2", "select", "evaluate"):
        preview = made[name].metadata["preview"].value
        assert preview.startswith("![preview](data:image/jpeg;base64,") and 1000 < len(preview) < 100_000
    assert "/runs/" in made["enhancer_1"].metadata["mlflow"].value
    assert made["champion"].metadata["promoted"].value is True
    figures = made["evaluate"].metadata
    assert "score" in figures and "structure" in figures and "structure_low" not in figures


def test_a_champion_that_is_measured_again_gets_the_score_of_its_evaluation(trained_once: Trained) -> None:
    path, _ = trained_once
    score = json.loads((path / "artifacts/metrics/evaluation.json").read_text())["score"]
    table = measure.per_photo(load_params(path / "params.yaml"), path, path / "artifacts/model/model.safetensors")
    assert evaluate.figures(table)["score"] == pytest.approx(score, abs=1e-5)


def test_the_champion_relights_photos(trained_once: Trained, tmp_path: Path) -> None:
    path, _ = trained_once
    photo = "data/photos/pairs/backlit/demo_pair_000.jpg"
    done = Project(path).python("cliplit", "enhance", photo, "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    before, after = Image.open(path / photo), Image.open(tmp_path / "demo_pair_000.jpg")
    assert after.size == before.size and ImageChops.difference(before, after).getbbox() is not None


def test_a_second_materialization_executes_nothing_and_registers_nothing(trained: Project) -> None:
    result = materialize(trained.path)
    assert result.success
    assert not any(executed(result).values())
    assert len(registry.list_versions(trained.path)) == 1
    assert "reigns already" in _materializations(result)["champion"].metadata["reason"].value


def test_another_learning_rate_in_round_2_leaves_rounds_0_and_1_as_they_are(trained: Project) -> None:
    trained.set_param("rounds.2.enhancer.learning_rate", 0.1)
    rounds = [dg.AssetKey(f"{family}_{number}") for family in ("prompts", "enhancer") for number in "012"]
    result = materialize(trained.path, asset_selection=rounds)
    assert result.success
    assert [name for name, run in executed(result).items() if run] == ["enhancer_2"]
    assert len(executed(result)) == 6


def test_dvc_alone_gives_the_same_bytes_and_dagster_then_finds_all_done(
    by_dvc: tuple[Path, subprocess.Popen[str]], trained_once: Trained
) -> None:
    path, process = by_dvc
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert not (path / "mlflow.db").exists()
    names = ["curate", "start", "prompts-0", "enhancer-0", "prompts@1", "enhancer@1"]
    for name in names:
        recorded = dvc.locked_outs(path, name)
        assert recorded and recorded == dvc.locked_outs(trained_once[0], name), name
    result = materialize(path, asset_selection=[stage_key(graph.stage(path, name)) for name in names])
    assert result.success
    assert executed(result) == {"curate": False, "start": False} | {
        f"{family}_{number}": False for family in ("prompts", "enhancer") for number in "01"
    }
    made = _materializations(result)
    assert made["enhancer_1"].tags["dagster/data_version"] == dvc.outputs_md5(path, "enhancer@1")


def test_dvcs_own_commands_work_on_the_result(trained: Project) -> None:
    shown = trained.python("dvc", "metrics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    files = json.loads(shown.stdout)[""]["data"]
    assert files["artifacts/metrics/evaluation.json"]["data"]["score"] < 0
    plots = trained.python("dvc", "plots", "show", "-o", "dvc_plots")
    assert plots.returncode == 0, plots.stderr
    page = (trained.path / "dvc_plots" / "index.html").read_text()
    assert "First enhancer" in page and "Prompt refinement, round 2" in page
    graph = trained.python("dvc", "dag", "--dot")
    assert '"enhancer@1" -> "enhancer@2"' in graph.stdout


def test_a_dvc_experiment_trains_only_what_it_changes(trained: Project) -> None:
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "trained"]):
        subprocess.run(["git", *command], cwd=trained.path, check=True)
    before = dvc.outputs_md5(trained.path, "enhancer@1")
    done = trained.python("dvc", "exp", "run", "-S", "rounds.2.enhancer.steps=5", "enhancer@2")
    assert done.returncode == 0, done.stderr
    rows = (trained.path / "artifacts/plots/enhancer_2.csv").read_text().splitlines()
    assert len(rows) == 1 + 5
    assert dvc.outputs_md5(trained.path, "enhancer@1") == before
    assert "Running stage 'enhancer@1'" not in done.stdout
