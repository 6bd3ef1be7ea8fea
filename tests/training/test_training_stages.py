from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.files import write_json
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import resolve_models
from cliplit.networks import build_network, save_network
from cliplit.stages import dvc_name, outputs, run_stage, used_params
from cliplit.training import loop

NETWORK = Path("artifacts/enhancer/0/network.safetensors")


def edit(project: Path, **changes) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes), encoding="utf-8")


def give_prompts(project: Path, round_name: str = "0") -> None:
    guidance = load_params(project / "params.yaml").guidance
    vlm, _ = resolve_models(guidance, torch.device("cpu"))
    PromptPair.start(vlm, guidance).save(project / "artifacts" / "prompts" / round_name / "prompts.safetensors")


def give_network(project: Path, path: str, log_gain: float) -> None:
    """A network that brightens every photo alike."""
    config = replace(load_params(project / "params.yaml").network, kind="unet")
    network = build_network(config)
    torch.nn.init.constant_(network.head.bias, math.exp(-log_gain))
    save_network(network, config, project / path)


def metrics(project: Path, name: str) -> dict:
    return json.loads((project / "artifacts" / "metrics" / f"{name}.json").read_text())


def curve(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / "artifacts" / "plots" / f"{name}.csv")


def test_round_0_prompts_separate_backlit_from_well_lit(project):
    run_stage("prompts", "0", project)
    table = curve(project, "prompts_0")
    assert table["step"].tolist() == list(range(1, 41))
    assert table["loss"].iloc[-5:].mean() < 0.8 * table["loss"].iloc[:5].mean()
    assert metrics(project, "prompts_0")["val_accuracy"] == 1.0
    assert metrics(project, "prompts_0")["val_margin"] > 0.2


def test_refinement_ranks_backlit_older_newer_well_lit(project):
    give_prompts(project, "1")
    give_network(project, "artifacts/enhancer/1/earlier.safetensors", 0.25)
    give_network(project, "artifacts/enhancer/1/network.safetensors", 0.8)
    run_stage("prompts", "2", project)
    table, final = curve(project, "prompts_2"), metrics(project, "prompts_2")
    assert table["loss"].iloc[-5:].mean() < table["loss"].iloc[:5].mean()
    ranks = [final[f"val_backlit_probability_{name}"] for name in ("backlit", "older", "newer", "well_lit")]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1] + 0.2
    assert final["val_rank_order"] == 1.0


def test_the_enhancer_learns_to_relight_and_goes_on_in_the_next_round(project):
    run_stage("prompts", "0", project)
    edit(project, enhancer={"steps": 40, "learning_rate": 0.01})
    run_stage("enhancer", "0", project)
    table = curve(project, "enhancer_0")
    assert table["step"].tolist() == list(range(1, 47))
    assert table["prompt"].isna().sum() == 6 and table["identity"].notna().all()
    relit = table["loss"].iloc[6:]
    assert relit.iloc[-8:].mean() < relit.iloc[:8].mean()
    held_out = table["val_loss"].dropna()
    assert held_out.index.tolist() == [3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 45]
    assert held_out.iloc[-1] < held_out.iloc[1]

    run_stage("prompts", "1", project)
    run_stage("enhancer", "1", project)
    folder = project / "artifacts" / "enhancer" / "1"
    assert (folder / "earlier.safetensors").read_bytes() == (project / NETWORK).read_bytes()
    assert (folder / "network.safetensors").read_bytes() != (project / NETWORK).read_bytes()
    assert curve(project, "enhancer_1")["step"].tolist() == list(range(1, 9))


def test_kill_9_and_resume_give_the_bytes_of_an_uninterrupted_run(project, tmp_path):
    give_prompts(project)
    edit(project, enhancer={"steps": 54, "learning_rate": 0.002})
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cliplit", "stage", "enhancer", "--round", "0"]
    trainer = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    # The third checkpoint lies behind the warm start, so resuming must bring Adam's memory back, too.
    while not list(project.glob("work/enhancer-0/*/step-00000012.json")):
        assert trainer.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(trainer.pid, signal.SIGKILL)
    assert trainer.wait() == -signal.SIGKILL
    assert not (project / "artifacts" / "enhancer").exists()
    reached = max(int(path.stem.split("-")[1]) for path in project.glob("work/enhancer-0/*/step-*.json"))
    assert 12 <= reached < 60

    resumed = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert f"going on from step {reached} of 60" in resumed.stderr
    outcome = {path: (project / path).read_bytes() for path in written(project)}
    assert len(outcome) == 3
    for path in project.glob("work/enhancer-0/*/step-*"):
        path.unlink()
    run_stage("enhancer", "0", project)
    assert {path: (project / path).read_bytes() for path in written(project)} == outcome


def written(project: Path) -> list[Path]:
    files = [file for path in outputs("enhancer", "0") for file in [project / path, *(project / path).rglob("*")]]
    return [file.relative_to(project) for file in files if file.is_file()]


def test_a_finished_run_is_not_trained_again_and_a_changed_one_is(project, monkeypatch):
    run_stage("prompts", "0", project)
    first = (project / "artifacts/prompts/0/prompts.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_phase_at", lambda *_: pytest.fail("a step was trained again"))
        run_stage("prompts", "0", project)
    assert (project / "artifacts/prompts/0/prompts.safetensors").read_bytes() == first
    edit(project, seed=1)
    run_stage("prompts", "0", project)
    assert (project / "artifacts/prompts/0/prompts.safetensors").read_bytes() != first


def test_divergence_names_the_learning_rate_and_keeps_the_last_finite_checkpoint(project, monkeypatch):
    edit(project, prompts={"steps": 40, "learning_rate": 1e30})
    with pytest.raises(
        UserError, match=r"diverged at step \d+.*lower the key 'prompts.learning_rate', which is 1e\+30"
    ):
        run_stage("prompts", "0", project)
    assert not (project / "artifacts" / "prompts").exists()


def test_a_checkpoint_before_divergence_stays(tmp_path):
    from cliplit.config import PhaseConfig
    from cliplit.training.checkpoint import Checkpoints

    module = torch.nn.Linear(2, 1)

    def loss(step: int) -> dict[str, torch.Tensor]:
        return {"loss": module.weight.square().sum() * (float("nan") if step == 5 else 1.0)}

    checkpoints = Checkpoints(tmp_path / "run" / "f")
    tracker = type("Silent", (), {"metrics": lambda *_: None})()
    phase = loop.Phase("enhancer", PhaseConfig(9, 0.1), loss)
    with pytest.raises(UserError, match=r"diverged at step 6.*'enhancer.learning_rate'"):
        loop.descend("test", module, [phase], dict, checkpoints, 2, 0.0, tracker)
    assert checkpoints.latest()["step"] == 4


@pytest.mark.parametrize(
    ("name", "round_name", "remove", "message"),
    [
        ("enhancer", "0", None, r"prompts/0/prompts.safetensors: there is no such file; run .*stage prompts --round 0"),
        ("prompts", "1", None, r"enhancer/0/network.safetensors: there is no such file; run .*enhancer --round 0"),
        ("prompts", "0", "artifacts/dataset/manifest.csv", r"manifest.csv: .*run the curate stage first"),
        ("prompts", "9", None, r"stage prompts needs --round, one of 0, 1, 2"),
        ("prompts", None, None, r"stage prompts needs --round"),
        ("select", "1", None, r"stage select has no rounds"),
        ("train", None, None, r"stage 'train' does not exist; the stages are curate"),
    ],
)
def test_what_is_missing_is_named_with_the_stage_that_makes_it(project, name, round_name, remove, message):
    if remove:
        (project / remove).unlink()
    with pytest.raises(UserError, match=message):
        run_stage(name, round_name, project)


def test_a_failed_stage_leaves_its_earlier_outputs_and_nothing_new(project, monkeypatch):
    run_stage("prompts", "0", project)
    old = (project / "artifacts/prompts/0/prompts.safetensors").read_bytes()
    written_last = project / "artifacts/metrics/prompts_1.json"

    def fail(path: Path, value: object) -> None:
        if path == written_last:
            raise OSError(28, "No space left on device", str(path))
        write_json(path, value)

    monkeypatch.setattr(loop, "write_json", fail)
    give_network(project, str(NETWORK), 0.2)
    with pytest.raises(UserError, match="no space left on the disk; free some"):
        run_stage("prompts", "1", project)
    assert not (project / "artifacts/prompts/1").exists() and not (project / "artifacts/plots/prompts_1.csv").exists()
    assert (project / "artifacts/prompts/0/prompts.safetensors").read_bytes() == old


def test_stages_write_and_use_what_dvc_yaml_declares():
    root = Path(__file__).parents[2]
    declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    params = load_params(root / "params.yaml")
    for name, round_name, key in [
        *((name, None, name) for name in ("curate", "start", "select", "evaluate", "report")),
        *(
            (name, number, f"{name}-0" if number == "0" else name)
            for name in ("prompts", "enhancer")
            for number in "012"
        ),
    ]:
        stage = declared[key].get("do", declared[key])
        plots = [next(iter(plot)) if isinstance(plot, dict) else plot for plot in stage.get("plots", [])]
        paths = [*stage["outs"], *stage.get("metrics", []), *plots]
        paths = [path.replace("${key}", str(round_name)) for path in paths if isinstance(path, str)]
        assert {path.as_posix() for path in outputs(name, round_name)} == set(paths), dvc_name(name, round_name)
        names = {parts[-1] if len(parts := param.split(".")) > 1 else param for param in stage["params"]}
        assert set(used_params(params, name, round_name)) == names
