"""The reigning model becomes an input of training, by the md5s that dvc.lock had when it was registered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from inbox_project import InboxProject, cheap, create

from cliplit.config import load_params
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import resolve_models
from cliplit.lineage import digests, dvc, registry
from cliplit.lineage.champion import CHAMPION, champion_export
from cliplit.networks import build_network, save_network
from cliplit.photos.codecs import save_jpeg
from cliplit.stages import run_stage

FOLDERS = ("artifacts/dataset", "artifacts/prompts/0", "artifacts/model", "artifacts/evaluation")


def reigning(project: InboxProject) -> None:
    """A model, its prompts and its dataset in DVC's cache and in dvc.lock, registered and promoted."""
    path, params = project.path, load_params(project.path / "params.yaml")
    rows = ["photo,role,split,source,scene"]
    for role in ("backlit", "well_lit"):
        for number in range(6):
            save_jpeg(path / "artifacts/dataset/photos" / role / f"{number}.jpg", cheap(role, 70, number))
            rows.append(f"{role}/{number}.jpg,{role},{'val' if number < 2 else 'train'},{number},{role}{number}")
    (path / "artifacts/dataset/manifest.csv").write_text("\n".join(rows) + "\n")
    vlm, _ = resolve_models(params.guidance, torch.device("cpu"))
    PromptPair.start(vlm, params.guidance).save(path / "artifacts/prompts/0/prompts.safetensors")
    save_network(build_network(params.network), params.network, path / "artifacts/model/model.safetensors")
    (path / "artifacts/model/choice.json").write_text('{"round": "0"}')
    (path / "artifacts/evaluation").mkdir()
    (path / "artifacts/evaluation/per_photo.json").write_text("{}")
    (path / "artifacts/metrics").mkdir()
    (path / "artifacts/metrics/evaluation.json").write_text('{"score": 0.5}')
    raw = yaml.safe_load((path / "params.yaml").read_text())
    outs = {folder: {"path": folder, "md5": digests.path_md5(path / folder)} for folder in FOLDERS}
    metrics = {"path": "artifacts/metrics/evaluation.json"}
    metrics["md5"] = digests.path_md5(path / metrics["path"])
    used = {"params": {"params.yaml": {name: raw[name] for name in ("guidance", "network")}}}
    stages = {
        "curate": {"outs": [outs[FOLDERS[0]]]},
        "prompts-0": used | {"outs": [outs[FOLDERS[1]]]},
        "select": {"outs": [outs[FOLDERS[2]]]},
        "evaluate": {"deps": [outs[FOLDERS[0]], outs[FOLDERS[2]]], "outs": [outs[FOLDERS[3]], metrics]},
    }
    stages = {name: {"cmd": f"python -m cliplit stage {name}"} | stage for name, stage in stages.items()}
    (path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    registry.register_challenger(path)
    assert registry.promote(path, lambda _: []).promoted
    for md5 in (outs[FOLDERS[0]], outs[FOLDERS[1]]):  # as `dvc repro` leaves them in the cache
        keep_in_cache(path, md5["path"], md5["md5"])


def keep_in_cache(path: Path, folder: str, md5: str) -> None:
    objects = path / ".dvc/cache/files/md5"
    files = sorted(file for file in (path / folder).rglob("*") if file.is_file())
    listing = [{"md5": digests.file_md5(file), "relpath": file.relative_to(path / folder).as_posix()} for file in files]
    listing.sort(key=lambda entry: entry["relpath"])
    for entry in listing:
        target = objects / entry["md5"][:2] / entry["md5"][2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / folder / entry["relpath"], target)
    target = objects / md5[:2] / md5[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(listing, sort_keys=True))
    assert digests.file_md5(target) == md5.removesuffix(".dir")


def test_without_a_champion_nothing_is_written(project: InboxProject) -> None:
    assert champion_export(project.path) == "Training cannot go on from the champion: none reigns yet."
    assert not (project.path / CHAMPION).exists()


@pytest.mark.slow
def test_the_champion_is_exported_versioned_and_gone_on_from(tmp_path: Path) -> None:
    project = create(tmp_path / "project", dvc=True)
    reigning(project)
    path = project.path
    prompts = (path / "artifacts/prompts/0/prompts.safetensors").read_bytes()
    shutil.rmtree(path / "artifacts/prompts")  # a later run has other prompts: the cache still has the champion's
    said = champion_export(path)
    assert said.startswith("Training may go on from version 1. Versioned data/champion/model in DVC")
    assert (path / CHAMPION / "network.safetensors").read_bytes() == (
        path / "artifacts/model/model.safetensors"
    ).read_bytes()
    assert (path / CHAMPION / "prompts.safetensors").read_bytes() == prompts
    tracked = yaml.safe_load((path / "data/champion/model.dvc").read_text())["outs"][0]["md5"]
    assert tracked == digests.path_md5(path / CHAMPION)
    assert "lies in data/champion/model already" in champion_export(path)
    # The folder that the stage start declares has, for DVC too, the md5 that the project computes.
    run_stage("start", None, path)
    assert json.loads((path / "artifacts/metrics/start.json").read_text())["start"] == "champion"
    assert (path / "artifacts/start/prompts.safetensors").read_bytes() == prompts
    # A fresh clone gets it back from DVC alone.
    shutil.rmtree(path / CHAMPION)
    assert dvc.run_dvc(path, "checkout", "-q", "data/champion/model.dvc").returncode == 0
    assert digests.path_md5(path / CHAMPION) == tracked


@pytest.mark.slow
def test_what_cannot_be_restored_is_said_and_costs_nothing(tmp_path: Path) -> None:
    project = create(tmp_path / "project", dvc=True)
    reigning(project)
    shutil.rmtree(project.path / "artifacts/prompts")
    shutil.rmtree(project.path / ".dvc/cache")
    said = champion_export(project.path)
    assert said.startswith("Training cannot go on from the champion: artifacts/prompts/0 as it was then is neither")
    (project.path / "mlflow.db").write_bytes(b"no database" * 100)
    assert champion_export(project.path).startswith("Training cannot go on from the champion: ")
    project.drop("backlit/a.jpg")
    assert len(project.ingest().batch.added) == 1
