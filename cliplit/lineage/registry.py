"""Which model serves: versions in MLflow's registry under the aliases challenger, champion and previous.

A version is the folder artifacts/model as DVC recorded it; its DVC md5 is its key, and whoever promotes or uses it
hashes the bytes again. Both aliases that a promotion moves stand in an intent tag first, so that one cut off half way
is completed by whoever comes next; readers of ``champion`` see the old model or the new one at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.files import read_json
from cliplit.lineage import digests, dvc, packaging, runs
from cliplit.lineage import mlflow_store as store

NAME = "cliplit"
MODEL_STAGE = "select"
MODEL_FOLDER = "artifacts/model"
WEIGHTS = "model.safetensors"
METRICS = "artifacts/metrics/evaluation.json"
_INTENT = "cliplit.intent"
_ROLLED_BACK = "cliplit.rolled_back"
_LOCK_SECONDS = 120


@dataclass(frozen=True)
class Version:
    """One registered model; ``metrics`` are those of the photos it was registered with."""

    number: int
    md5: str
    dataset_md5: str | None
    git_commit: str | None
    created: float  # seconds since the epoch
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    rolled_back: bool = False


@dataclass(frozen=True)
class Promotion:
    """What came of a challenge: whether ``version`` reigns now because of it, and why in one sentence."""

    promoted: bool
    reason: str
    version: Version
    champion_before: Version | None


def list_versions(project: Path = Path()) -> list[Version]:
    """All versions, newest first; empty when nothing was registered."""
    return [_version(found) for found in _all(_client(project))] if store.exists(project) else []


def champion_file(project: Path = Path()) -> Path | None:
    """The champion's model.safetensors on this machine, its bytes checked; None when none reigns."""
    if not store.exists(project):
        return None
    client = _client(project)
    champion = _by_alias(client, "champion")
    return _verified(client, project, champion) / WEIGHTS if champion else None


def register_challenger(project: Path = Path()) -> Version:
    """Register artifacts/model, once for each DVC md5, and make it the challenger; raises UserError with the fix."""
    md5 = dvc.outputs_md5(project, MODEL_STAGE)
    if md5 is None:
        raise UserError("dvc.lock: no model has been chosen yet; run `dvc repro` first")
    for fault in dvc.verify_bytes(project, MODEL_STAGE):
        raise UserError(fault)
    metrics, dataset = _measured(project, md5)
    with _locked(project):
        client = _client(project)
        _recover(client)
        found = next((version for version in _all(client) if version.tags.get("dvc.md5") == md5), None)
        if found is None:
            found = packaging.create_version(client, project, NAME, project / MODEL_FOLDER, md5, dataset, metrics)
        _tag_measures(client, found.version, metrics, dataset)
        client.set_registered_model_alias(NAME, "challenger", found.version)
        return _version(client.get_model_version(NAME, found.version))


def promote(project: Path = Path(), remeasure: Callable[[Path], float] | None = None) -> Promotion:
    """Let the challenger reign if it beats the champion by more than params.yaml's promotion.min_gain, or none reigns.

    ``remeasure`` gives the declared metric of a weights file on the photos of today; it is called when the champion was
    only measured on others. Raises UserError when there is no challenger, no metric, or its bytes are not what DVC
    recorded.
    """
    rule = load_params(project / "params.yaml").promotion
    with _locked(project):
        client = _client(project)
        _recover(client)
        challenger, champion = _by_alias(client, "challenger"), _by_alias(client, "champion")
        if challenger is None:
            raise UserError("there is no challenger; run `cliplit models register` first")
        before = _version(champion) if champion else None
        if champion and champion.version == challenger.version:
            return Promotion(False, f"version {champion.version} reigns already", _version(champion), before)
        _verified(client, project, challenger)
        if _ROLLED_BACK in challenger.tags:
            reason = f"version {challenger.version} was rolled back; `cliplit models rollback` brings it back"
            return Promotion(False, reason, _version(challenger), before)
        dataset = challenger.tags.get("cliplit.dataset_md5")
        value = _measure(challenger, rule.metric, dataset)
        if value is None:
            raise UserError(f"params.yaml: promotion.metric is '{rule.metric}', which {METRICS} lacks; use one it has")
        better, reason = True, "no champion reigned"
        if champion:
            reigning = _measure(champion, rule.metric, dataset)
            if reigning is None and remeasure is not None:
                reigning = float(remeasure(_verified(client, project, champion) / WEIGHTS))
                _tag_measures(client, champion.version, {rule.metric: reigning}, dataset)
            better, reason = _judge(rule.metric, value, reigning, rule.min_gain)
        if better:
            _move(client, champion=challenger.version, previous=champion.version if champion else None)
        _record(client, project, challenger, champion, better, reason, {rule.metric: value})
        return Promotion(better, reason, _version(client.get_model_version(NAME, challenger.version)), before)


def rollback(project: Path = Path()) -> Version:
    """Champion and previous change places; the deposed one is not promoted again by itself. Returns the champion."""
    if not store.exists(project):
        raise UserError("there is no registered model yet; train first")
    with _locked(project):
        client = _client(project)
        _recover(client)
        champion, previous = _by_alias(client, "champion"), _by_alias(client, "previous")
        if champion is None or previous is None:
            raise UserError("there is no previous champion to go back to; promote a second model first")
        _verified(client, project, previous)
        _move(client, champion=previous.version, previous=champion.version, rolled_back=champion.version)
        return _version(client.get_model_version(NAME, previous.version))


def _judge(metric: str, value: float, reigning: float | None, min_gain: float) -> tuple[bool, str]:
    if reigning is None:
        return False, f"the champion's {metric} is not known on these photos, so nothing was compared"
    better = value - reigning > min_gain
    verb = "beats" if better else "does not beat"
    return better, f"{metric} {value:.4f} {verb} the champion's {reigning:.4f} by more than {min_gain:g}"


def _record(
    client: Any, project: Path, challenger: Any, champion: Any, better: bool, reason: str, metrics: dict[str, float]
) -> None:
    """Write the decision down as a run of its own, beside the stages."""
    md5 = challenger.tags["dvc.md5"]
    tags = {"cliplit.promoted": str(better).lower(), "cliplit.reason": reason, "cliplit.challenger_md5": md5}
    tags["dvc.md5"] = md5 if better else champion.tags["dvc.md5"]
    runs.record(client, project, "champion", md5, tags, metrics)


def _move(client: Any, champion: str, previous: str | None, rolled_back: str | None = None) -> None:
    """Write the intent, then do it."""
    intent = {"champion": champion, "previous": previous, "rolled_back": rolled_back}
    client.set_registered_model_tag(NAME, _INTENT, json.dumps(intent))
    _recover(client)


def _recover(client: Any) -> None:
    """Complete what an intent tag says; each write can be repeated, and the intent goes last."""
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_registered_model(NAME).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return
    if _INTENT not in tags:
        return
    intent = json.loads(tags[_INTENT])
    if intent["rolled_back"]:
        client.set_model_version_tag(NAME, intent["rolled_back"], _ROLLED_BACK, "true")
    if _ROLLED_BACK in client.get_model_version(NAME, intent["champion"]).tags:
        client.delete_model_version_tag(NAME, intent["champion"], _ROLLED_BACK)
    if intent["previous"]:
        client.set_registered_model_alias(NAME, "previous", intent["previous"])
    client.set_registered_model_alias(NAME, "champion", intent["champion"])
    client.delete_registered_model_tag(NAME, _INTENT)


def _measured(project: Path, md5: str) -> tuple[dict[str, float], str | None]:
    """The evaluation's numbers and the md5 of the dataset, if dvc.lock says that they are about these bytes."""
    inputs = store.locked(project, "evaluate", "deps")
    if inputs.get(MODEL_FOLDER) != md5:
        raise UserError(f"{METRICS}: it is not about the chosen model; run `dvc repro` so that it is measured")
    for fault in dvc.verify_bytes(project, "evaluate"):
        raise UserError(fault)
    return runs.headline(read_json(project / METRICS)), inputs.get("artifacts/dataset")


def _tag_measures(client: Any, number: str, metrics: dict[str, float], dataset: str | None) -> None:
    for name, value in metrics.items():
        client.set_model_version_tag(NAME, number, _measure_tag(name, dataset), repr(value))


def _measure(found: Any, metric: str, dataset: str | None) -> float | None:
    text = found.tags.get(_measure_tag(metric, dataset))
    return None if text is None else float(text)


def _measure_tag(metric: str, dataset: str | None) -> str:
    return f"measured.{(dataset or 'unknown')[:12]}.{metric}"


def _verified(client: Any, project: Path, found: Any) -> Path:
    """The version's folder on this machine, if its bytes have the md5 that DVC recorded."""
    folder = _local_folder(client, project, found)
    if not folder.is_dir():
        raise UserError(f"{folder}: the bytes of version {found.version} are gone; restore them or roll back")
    if digests.path_md5(folder) != found.tags["dvc.md5"]:
        raise UserError(
            f"{folder}: the bytes of version {found.version} are not those that DVC recorded "
            f"({found.tags['dvc.md5']}); restore them from `dvc checkout` or use another version"
        )
    return folder


def _local_folder(client: Any, project: Path, found: Any) -> Path:
    """Where the version's artifacts/model lies here; fetched once from a server, followed when the project moved."""
    source = client.get_model_version_download_uri(NAME, found.version)
    if urlsplit(source).scheme in {"", "file"}:
        folder = Path(unquote(urlsplit(source).path))
        if not folder.exists() and store.ARTIFACTS in folder.parts:
            tail = folder.parts[folder.parts.index(store.ARTIFACTS) + 1 :]
            folder = project / store.ARTIFACTS / Path(*tail)
        return folder / packaging.ARTIFACT
    cache = project / "work" / "models" / found.tags["dvc.md5"]
    if not (cache / packaging.ARTIFACT).exists():
        from mlflow.artifacts import download_artifacts

        cache.mkdir(parents=True, exist_ok=True)
        uri = f"{source}/{packaging.ARTIFACT}"
        download_artifacts(
            artifact_uri=uri, dst_path=str(cache / "artifacts"), tracking_uri=store.tracking_uri(project)
        )
    return cache / packaging.ARTIFACT


def _client(project: Path) -> Any:
    try:
        return store.make_client(project, patient=True)
    except store.Unreachable as error:
        raise UserError(f"the model registry cannot be used: {error}; start it or unset MLFLOW_TRACKING_URI") from None


def _all(client: Any) -> list[Any]:
    """All versions with their aliases, newest first (a search does not fill in the aliases)."""
    found = client.search_model_versions(f"name = '{NAME}'")
    ordered = sorted(found, key=lambda version: int(version.version), reverse=True)
    return [client.get_model_version(NAME, version.version) for version in ordered]


def _by_alias(client: Any, alias: str) -> Any:
    """The version under ``alias``, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(NAME, alias)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


def _version(found: Any) -> Version:
    tags = found.tags
    dataset = tags.get("cliplit.dataset_md5")
    prefix = _measure_tag("", dataset)
    return Version(
        number=int(found.version),
        md5=tags.get("dvc.md5", ""),
        dataset_md5=dataset,
        git_commit=tags.get("cliplit.git_commit"),
        created=found.creation_timestamp / 1000,
        aliases=tuple(sorted(found.aliases)),
        metrics={name.removeprefix(prefix): float(value) for name, value in tags.items() if name.startswith(prefix)},
        rolled_back=_ROLLED_BACK in tags,
    )


@contextmanager
def _locked(project: Path) -> Iterator[None]:
    """One change of the registry at a time."""
    path = project / "work" / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise UserError(f"{path}: another promotion has held it for {_LOCK_SECONDS} s; end that process") from None
