"""The registry's versions and the aliases challenger, champion and previous, and how aliases move without half states.

Both aliases that a promotion moves stand in an intent tag first, so that one that is cut off half way is completed by
whoever comes next; readers of ``champion`` see the old model or the new one at any time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cliplit.errors import UserError
from cliplit.lineage import mlflow_store as store

NAME = "cliplit"
CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
ROLLED_BACK = "cliplit.rolled_back"
_INTENT = "cliplit.intent"
_LOCK_SECONDS = 120
_ATTEMPTS = 5
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


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
    run_id: str | None = None  # of the run that registered it


def client_of(project: Path) -> Any:
    """A client that waits; raises UserError where the registry does not answer."""
    try:
        return store.make_client(project, patient=True)
    except store.Unreachable as error:
        raise UserError(f"the model registry cannot be used: {error}; start it or unset MLFLOW_TRACKING_URI") from None


def all_found(client: Any) -> list[Any]:
    """All versions as MLflow gives them, with their aliases, newest first (a search does not fill in the aliases)."""
    found = client.search_model_versions(f"name = '{NAME}'")
    ordered = sorted(found, key=lambda version: int(version.version), reverse=True)
    return [client.get_model_version(NAME, version.version) for version in ordered]


def by_alias(client: Any, alias: str) -> Any:
    """The version under ``alias`` as MLflow gives it, or None."""
    return _or_none(client.get_model_version_by_alias, alias)


def by_number(client: Any, number: str) -> Any:
    """The version of that number as MLflow gives it, or None."""
    return _or_none(client.get_model_version, number)


def by_name(client: Any, name: str) -> Any:
    """The version that an alias, cliplit@ALIAS or a number means, as MLflow gives it, or None."""
    key = name.removeprefix(f"{NAME}@")
    return by_number(client, key) if key.isdigit() else by_alias(client, key)


def version_of(found: Any) -> Version:
    """What MLflow gave, as this project speaks of it."""
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
        rolled_back=ROLLED_BACK in tags,
        run_id=found.run_id or None,
    )


def tag_measures(client: Any, number: str, metrics: dict[str, float], dataset: str | None) -> None:
    """Write ``metrics``, measured on the photos ``dataset``, to a version."""
    for name, value in metrics.items():
        client.set_model_version_tag(NAME, number, _measure_tag(name, dataset), repr(value))


def move(client: Any, champion: str, previous: str | None, rolled_back: str | None = None) -> None:
    """Write the intent, then do it."""
    intent = {"champion": champion, "previous": previous, "rolled_back": rolled_back}
    _insist(lambda: client.set_registered_model_tag(NAME, _INTENT, json.dumps(intent)))
    recover(client)


def recover(client: Any) -> None:
    """Complete what an intent tag says; each write can be repeated, and the intent goes last."""
    _insist(lambda: _complete(client))


def _complete(client: Any) -> None:
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
        client.set_model_version_tag(NAME, intent["rolled_back"], ROLLED_BACK, "true")
    if ROLLED_BACK in client.get_model_version(NAME, intent["champion"]).tags:
        client.delete_model_version_tag(NAME, intent["champion"], ROLLED_BACK)
    if intent["previous"]:
        client.set_registered_model_alias(NAME, PREVIOUS, intent["previous"])
    client.set_registered_model_alias(NAME, CHAMPION, intent["champion"])
    client.delete_registered_model_tag(NAME, _INTENT)


@contextmanager
def locked(project: Path) -> Iterator[None]:
    """One change of the registry at a time, among the processes of this project folder."""
    path = project / "work" / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise UserError(f"{path}: another promotion has held it for {_LOCK_SECONDS} s; end that process") from None


def _measure_tag(metric: str, dataset: str | None) -> str:
    return f"measured.{(dataset or 'unknown')[:12]}.{metric}"


def _insist(write: Callable[[], None]) -> None:
    """Repeat a write that can be repeated: two machines that add the same tag at once make one of them fail."""
    from mlflow.exceptions import MlflowException

    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except MlflowException:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)


def _or_none(ask: Any, key: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return ask(NAME, key)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return None
