"""The reigning model as an input of training: data/champion/model, which DVC versions like the photos.

The stage `start` may only read what DVC knows. So, before new photos are trained on, the champion's network, the
prompts it was trained under and the list of its photos are copied there, all three by the md5s that dvc.lock recorded
when it was registered.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cliplit.errors import UserError
from cliplit.files import read_json, write_json
from cliplit.lineage import aliases, digests, dvc, graph, registry, restore
from cliplit.lineage import mlflow_store as store

CHAMPION = Path("data/champion/model")
NETWORK = "network.safetensors"
PROMPTS = "prompts.safetensors"
RECORD = "champion.json"
_DATASET = "artifacts/dataset"
_PARAMS = ("guidance", "network")


class _Missing(Exception):
    """Something about the champion cannot be had; the sentence says what."""


def champion_export(project: Path) -> str:
    """Put the champion into data/champion/model and under DVC; returns in one sentence what was done.

    Nothing is raised for want of a champion: then what lies there stays, and training begins anew if nothing does.
    """
    try:
        return _export(project)
    except (_Missing, UserError) as error:
        reason = str(error)
    except Exception as error:  # a registry that is away or damaged must not cost a training run
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return f"Training cannot go on from the champion: {reason}."


def _export(project: Path) -> str:
    champion = registry.champion_version(project)
    if champion is None:
        raise _Missing("none reigns yet")
    target = project / CHAMPION
    if (target / RECORD).is_file() and read_json(target / RECORD)["md5"] == champion.md5:
        return f"Training may go on from version {champion.number}, which lies in {CHAMPION} already."
    network = registry.champion_file(project)
    if network is None:
        raise _Missing("none reigns any more")
    lock = _lock_of(project, champion.number)
    name = str(read_json(network.with_name("choice.json"))["round"])
    (project / "work").mkdir(exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project / "work", prefix="champion-") as temporary:
        there, staging = Path(temporary), Path(temporary) / CHAMPION.name
        staging.mkdir()
        shutil.copyfile(network, staging / NETWORK)
        learned = f"artifacts/prompts/{name}"
        prompts = _as_it_was(project, learned, _locked_md5(lock, learned), there / "prompts")
        shutil.copyfile(prompts / PROMPTS, staging / PROMPTS)
        dataset = _as_it_was(project, _DATASET, _locked_md5(lock, _DATASET), there / "dataset")
        record = {"md5": champion.md5, "dataset_md5": champion.dataset_md5, "round": name}
        write_json(staging / RECORD, record | {"params": _params(lock), "photos": _photos(dataset)})
        if target.exists():
            target.rename(there / "old")
        staging.rename(target)
    return f"Training may go on from version {champion.number}. {_track(project)}"


def _track(project: Path) -> str:
    if not (project / ".dvc").is_dir():
        return f"{CHAMPION} is not versioned: this folder is no DVC repository."
    done = dvc.run_dvc(project, "add", "-q", CHAMPION.as_posix())
    if done.returncode != 0:
        return f"{CHAMPION} is not versioned: {dvc.dvc_error(done.stderr)}"
    return f"Versioned {CHAMPION} in DVC; commit {CHAMPION}.dvc to git."


def _lock_of(project: Path, number: int) -> dict[str, Any]:
    """dvc.lock as it was when version ``number`` was registered."""
    client = store.make_client(project, patient=True)
    run = client.get_model_version(aliases.NAME, str(number)).run_id
    with tempfile.TemporaryDirectory() as folder:
        try:
            return graph.read_yaml(Path(client.download_artifacts(run, "dvc.lock", folder)))
        except Exception as error:  # MLflow raises its own kinds, those of its stores, and OSError
            raise _Missing(f"the dvc.lock of version {number} cannot be read ({type(error).__name__})") from None


def _locked_md5(lock: dict[str, Any], path: str) -> str:
    for stage in (lock.get("stages") or {}).values():
        for out in stage.get("outs") or []:
            if out["path"] == path and "md5" in out:
                return str(out["md5"])
    raise _Missing(f"its dvc.lock has no {path}")


def _params(lock: dict[str, Any]) -> dict[str, Any]:
    """The parts of params.yaml that it learned under, as its dvc.lock has them."""
    found: dict[str, Any] = {}
    for stage in (lock.get("stages") or {}).values():
        values = (stage.get("params") or {}).get("params.yaml") or {}
        found |= {name: values[name] for name in _PARAMS if name in values}
    return found


def _photos(dataset: Path) -> dict[str, list[tuple[str, str]]]:
    """Role and md5 of each photo of a dataset as training read it, by split."""
    found: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    with (dataset / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["split"]].append((row["role"], digests.file_md5(dataset / "photos" / row["photo"])))
    return {split: sorted(photos) for split, photos in found.items()}


def _as_it_was(project: Path, folder: str, md5: str, spare: Path) -> Path:
    """``folder`` with the md5 that it had then: the one in the workspace, or one restored into ``spare``."""
    if (project / folder).is_dir() and digests.folder_md5(project / folder) == md5:
        return project / folder
    if not restore.restore_folder(project, md5, spare):
        raise _Missing(f"{folder} as it was then is neither in DVC's cache nor in its remote")
    return spare
