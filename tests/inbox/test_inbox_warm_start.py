"""Training goes on from the champion when little changed, and begins anew when much did; DVC alone decides the same."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from inbox_project import InboxProject, cheap, create

from assets.previews import stage_preview
from cliplit.config import PhaseConfig, load_params
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import resolve_models
from cliplit.lineage import digests, graph
from cliplit.networks import build_network, save_network
from cliplit.photos.codecs import save_jpeg
from cliplit.stages import run_stage
from cliplit.training.start import changed_share, read_start

CHAMPION = Path("data/champion/model")


def dataset(path: Path, numbers: range, held_out: int = 2) -> list[dict[str, str]]:
    """A dataset of the photos ``numbers`` of each role, the last ``held_out`` of them in val."""
    folder = path / "artifacts" / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for role in ("backlit", "well_lit"):
        for number in numbers:
            name = f"{role}/{number}.jpg"
            save_jpeg(folder / "photos" / name, cheap(role, 60, number))
            split = "val" if number < numbers.start + held_out else "train"
            rows.append({"photo": name, "role": role, "split": split, "scene": name, "source": name})
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def champion(path: Path, rows: list[dict[str, str]], **other: Any) -> None:
    """A champion that learned from the dataset ``rows`` as it lies there, under params.yaml as it is."""
    params = load_params(path / "params.yaml")
    raw = yaml.safe_load((path / "params.yaml").read_text())
    torch.manual_seed(5)
    save_network(build_network(params.network), params.network, path / CHAMPION / "network.safetensors")
    vlm, _ = resolve_models(params.guidance, torch.device("cpu"))
    pair = PromptPair.start(vlm, params.guidance)
    with torch.no_grad():
        pair.negative.add_(0.01)
    pair.save(path / CHAMPION / "prompts.safetensors")
    photos: dict[str, list[list[str]]] = {"train": [], "val": []}
    for row in rows:
        md5 = digests.file_md5(path / "artifacts/dataset/photos" / row["photo"])
        photos[row["split"]].append([row["role"], md5])
    record = {"md5": "m", "params": {name: raw[name] for name in ("guidance", "network")}, "photos": photos}
    (path / CHAMPION / "champion.json").write_text(json.dumps(record | other))


@pytest.fixture
def small(tmp_path: Path) -> InboxProject:
    """Twelve photos a role and small parameters."""
    project = create(tmp_path / "project")
    params = yaml.safe_load((project.path / "params.yaml").read_text())
    params["training"] |= {"batch": 1, "prompt_batch": 4, "crops_per_photo": 1, "crop": 32}
    params |= {"warm_start": {"steps": 2, "learning_rate": 0.001}, "rounds": {}}
    params |= {"prompts": {"steps": 4, "learning_rate": 0.002}, "enhancer": {"steps": 4, "learning_rate": 0.001}}
    (project.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    dataset(project.path, range(12))
    return project


def started(project: InboxProject) -> dict[str, Any]:
    run_stage("start", None, project.path)
    metrics: dict[str, Any] = json.loads((project.path / "artifacts/metrics/start.json").read_text())
    assert metrics["start"] == json.loads((project.path / "artifacts/start/start.json").read_text())["from"]
    return metrics


def trained(project: InboxProject) -> dict[str, bytes]:
    """Round 0's outputs."""
    for name in ("prompts", "enhancer"):
        run_stage(name, "0", project.path)
    names = ("prompts/0/prompts.safetensors", "enhancer/0/network.safetensors")
    return {name: (project.path / "artifacts" / name).read_bytes() for name in names}


def steps(project: InboxProject, name: str) -> int:
    return int(json.loads((project.path / f"artifacts/metrics/{name}_0.json").read_text())["steps"])


def test_share_of_photos_that_changed() -> None:
    old = {("backlit", str(n)) for n in range(10)}
    assert changed_share(old, old) == 0
    assert changed_share(old | {("backlit", "new")}, old) == pytest.approx(1 / 11)
    assert changed_share(set(list(old)[:8]), old) == pytest.approx(2 / 10)
    assert changed_share({("well_lit", "0")}, {("backlit", "0")}) == 1
    assert changed_share(set(), set()) == 1


@pytest.mark.slow
def test_without_a_champion_training_begins_anew_with_the_bytes_it_always_had(small: InboxProject) -> None:
    before = trained(small)  # the stage start never ran: what was there before it existed
    assert steps(small, "enhancer") == 6
    assert started(small) | {"photos": 0} == {
        "start": "scratch",
        "start_reason": "there is no champion to go on from",
        "changed": 1.0,
        "warm": 0,
        "photos": 0,
        "champion_photos": 0,
    }
    assert [path.name for path in (small.path / "artifacts/start").iterdir()] == ["start.json"]
    shutil.rmtree(small.path / "work")
    assert trained(small) == before


def test_dagster_shows_what_start_decided_and_why(small: InboxProject) -> None:
    stage = graph.stage(small.path, "start")
    found = started(small)
    table = str(stage_preview(small.path, stage).value)
    assert "| training | begins anew |" in table and "| steps of round 0 | 100% of" in table
    assert f"| because | {found['start_reason']} |" in table and "| champion in `data/champion` | none |" in table
    champion(small.path, dataset(small.path, range(12)), md5="cafe.dir")
    dataset(small.path, range(13))
    started(small)
    table = str(stage_preview(small.path, stage).value)
    assert "| training | goes on from the champion |" in table and "| steps of round 0 | 50% of" in table
    assert "`cafe.dir`" in table and "| photos now | 26 |" in table and "| of both, came or went | 7.7% |" in table


@pytest.mark.slow
def test_few_new_photos_go_on_from_the_champion_with_fewer_steps(small: InboxProject) -> None:
    anew = trained(small)
    champion(small.path, dataset(small.path, range(12)))
    dataset(small.path, range(13))
    found = started(small)
    assert found["start"] == "champion" and found["changed"] == pytest.approx(2 / 26, abs=1e-5)
    assert read_start(small.path).network == small.path / "artifacts/start/network.safetensors"
    warm = trained(small)
    assert (steps(small, "prompts"), steps(small, "enhancer")) == (2, 2), "half of the steps, and no identity phase"
    assert warm != anew
    # Again from nothing but the declared inputs: the same bytes.
    shutil.rmtree(small.path / "work")
    shutil.rmtree(small.path / "artifacts/start")
    assert started(small)["start"] == "champion" and trained(small) == warm
    # Another champion is another start.
    network = small.path / CHAMPION / "network.safetensors"
    params = load_params(small.path / "params.yaml")
    torch.manual_seed(6)
    save_network(build_network(params.network), params.network, network)
    started(small)
    assert trained(small)["enhancer/0/network.safetensors"] != warm["enhancer/0/network.safetensors"]


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("many", "% of the photos changed, not less than retrain.warm_start_below"),
        ("guidance", "the champion learned under another 'guidance' in params.yaml"),
        ("network", "the champion learned under another 'network' in params.yaml"),
        ("split", "the champion was trained on 4 of the photos that are held out now"),
        ("never", "0% of the photos changed, not less than retrain.warm_start_below"),
    ],
)
def test_much_that_changed_begins_anew(small: InboxProject, why: str, reason: str) -> None:
    champion(small.path, dataset(small.path, range(12)))
    if why == "many":
        dataset(small.path, range(16))
    if why == "guidance":
        small.set("guidance.identity_weight", 0.06)
    if why == "network":
        small.set("network.max_gain", 4.0)
    if why == "split":
        dataset(small.path, range(12), held_out=4)
    if why == "never":
        small.set("retrain.warm_start_below", 0.0)
    found = started(small)
    assert found["start"] == "scratch" and reason in found["start_reason"]
    assert read_start(small.path).files == []


def test_a_start_is_forgotten_when_the_next_one_is_anew(small: InboxProject) -> None:
    champion(small.path, dataset(small.path, range(12)))
    assert started(small)["start"] == "champion"
    shutil.rmtree(small.path / CHAMPION)
    assert started(small)["start"] == "scratch"
    assert read_start(small.path).network is None


def test_a_phase_has_at_least_one_step(small: InboxProject) -> None:
    small.set("retrain.warm_start_steps", 0.01)
    champion(small.path, dataset(small.path, range(12)))
    started(small)
    assert read_start(small.path).shortened(PhaseConfig(5, 0.1)) == PhaseConfig(1, 0.1)


@pytest.mark.slow
def test_mlflow_shows_the_choice_on_the_stage_and_on_the_pipeline_run(
    small: InboxProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cliplit.lineage import mlflow_store

    monkeypatch.delenv("CLIPLIT_TRACKING")
    monkeypatch.setenv("CLIPLIT_PIPELINE_RUN", "run-1")
    started(small)
    client = mlflow_store.make_client(small.path)
    runs = client.search_runs([mlflow_store.experiment_id(client, small.path)])
    assert len(runs) == 2
    for run in runs:
        assert run.data.tags["cliplit.start"] == "scratch"
        assert run.data.tags["cliplit.start_reason"] == "there is no champion to go on from"
    (stage,) = [run for run in runs if run.data.tags.get("cliplit.stage") == "start"]
    assert stage.data.metrics["changed"] == 1.0 and stage.data.params["warm_start_below"] == "0.2"
