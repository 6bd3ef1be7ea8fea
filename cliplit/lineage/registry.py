"""Which model serves: versions in MLflow's registry under the aliases challenger, champion and previous.

A version is the folder artifacts/model as DVC recorded it; its DVC md5 is its key, and whoever promotes or uses it
hashes the bytes again. What a challenger must show before it reigns is asked of the caller (cliplit.promotion.gates).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cliplit.errors import UserError
from cliplit.files import read_json
from cliplit.lineage import aliases, dvc, packaging, runs, unsent
from cliplit.lineage import mlflow_store as store
from cliplit.lineage.aliases import CHALLENGER, CHAMPION, NAME, PREVIOUS, Version
from cliplit.lineage.restore import version_folder

MODEL_STAGE = "select"
MODEL_FOLDER = "artifacts/model"
WEIGHTS = "model.safetensors"
METRICS = "artifacts/metrics/evaluation.json"
_ATTEMPTS = 3


@dataclass(frozen=True)
class Challenge:
    """Who challenges whom (None: none reigns); files hold weights, bytes checked, or ``champion_lost`` says why not."""

    challenger: Version
    challenger_file: Path
    champion: Version | None
    champion_file: Path | None
    champion_lost: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one gate found, in one sentence and figures."""

    gate: str
    passed: bool
    reason: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """What came of a challenge: whether ``version`` reigns now because of it, and why in one sentence."""

    promoted: bool
    reason: str
    version: Version
    champion_before: Version | None
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Rollback:
    """The version that reigns again, the one it took over from, and the seconds of work that took."""

    version: Version
    deposed: Version
    seconds: float


Judge = Callable[[Challenge], Sequence[Verdict]]


def list_versions(project: Path = Path()) -> list[Version]:
    """All versions, newest first; empty when nothing was registered."""
    if not store.exists(project):
        return []
    return [aliases.version_of(found) for found in aliases.all_found(aliases.client_of(project))]


def champion_version(project: Path = Path()) -> Version | None:
    """The version that reigns, None when none does: one question to the registry, cheap enough to ask every second."""
    found = aliases.by_alias(aliases.client_of(project), CHAMPION) if store.exists(project) else None
    return aliases.version_of(found) if found else None


def champion_file(project: Path = Path()) -> Path | None:
    """The champion's model.safetensors on this machine, its bytes checked; None when none reigns."""
    return alias_file(project, CHAMPION)


def alias_file(project: Path, name: str) -> Path | None:
    """The model.safetensors of a version, its bytes checked; ``name`` is as for ``find``. None where there is none."""
    if not store.exists(project):
        return None
    client = aliases.client_of(project)
    found = aliases.by_name(client, name)
    return version_folder(client, project, found) / WEIGHTS if found else None


def find(project: Path, name: str) -> Version:
    """The version that ``name`` means: an alias, cliplit@ALIAS, or a number; raises UserError naming what there is."""
    found = aliases.by_name(aliases.client_of(project), name) if store.exists(project) else None
    if found is None:
        there = ", ".join(str(version.number) for version in list_versions(project)) or "none"
        raise UserError(
            f"{name}: no such version; use challenger, champion, previous, or a number ({there} registered)"
        )
    return aliases.version_of(found)


def register_challenger(project: Path = Path(), draw: packaging.Draw | None = None) -> Version:
    """Register artifacts/model, once for each DVC md5, and make it the challenger; raises UserError with the fix.

    The card shows what ``draw`` gives; if it raises, there is no picture.
    """
    md5 = dvc.outputs_md5(project, MODEL_STAGE)
    if md5 is None:
        raise UserError("dvc.lock: no model has been chosen yet; run `dvc repro` first")
    for fault in dvc.verify_bytes(project, MODEL_STAGE):
        raise UserError(fault)
    metrics, dataset = _measured(project, md5)
    with aliases.locked(project):
        client = aliases.client_of(project)
        unsent.upload(client, project)  # so that the version's runs have their curves
        aliases.recover(client)
        found = next((version for version in aliases.all_found(client) if version.tags.get("dvc.md5") == md5), None)
        if found is None:
            found = packaging.create_version(client, project, NAME, project / MODEL_FOLDER, md5, dataset, metrics, draw)
        aliases.tag_measures(client, found.version, metrics, dataset)
        client.set_registered_model_alias(NAME, CHALLENGER, found.version)
        return aliases.version_of(client.get_model_version(NAME, found.version))


def challenge(project: Path = Path()) -> Challenge:
    """The challenge as it stands; raises UserError when there is no challenger, or its bytes are lost or changed."""
    with aliases.locked(project):
        return _challenge(aliases.client_of(project), project)


def promote(project: Path, judge: Judge) -> Promotion:
    """Let the challenger reign if ``judge`` finds nothing against it.

    Nothing is locked while it judges; when the registry has changed meanwhile, it judges again. Raises UserError as
    ``challenge`` does.
    """
    for _ in range(_ATTEMPTS):
        before = challenge(project)
        settled = _settled(before)
        if settled:
            return Promotion(False, settled, before.challenger, before.champion)
        verdicts = tuple(judge(before))
        with aliases.locked(project):
            client = aliases.client_of(project)
            now = _challenge(client, project)  # hashes the bytes again
            if _state(now) == _state(before) and not _settled(now):
                return _decide(client, project, now, verdicts)
    raise UserError("the registry changed each time while the challenger was judged; try again when it is quiet")


def rollback(project: Path = Path()) -> Rollback:
    """Champion and previous change places; the deposed one is not promoted again by itself.

    Files of the previous one that are lost come back from DVC's cache or remote.
    """
    if not store.exists(project):
        raise UserError("there is no registered model yet; train first")
    client = aliases.client_of(project)
    with aliases.locked(project):
        started = time.perf_counter()
        aliases.recover(client)
        champion, previous = aliases.by_alias(client, CHAMPION), aliases.by_alias(client, PREVIOUS)
        if champion is None or previous is None:
            raise UserError("there is no previous champion to go back to; promote a second model first")
        version_folder(client, project, previous)
        aliases.move(client, champion=previous.version, previous=champion.version, rolled_back=champion.version)
        version = aliases.version_of(client.get_model_version(NAME, previous.version))
        return Rollback(version, aliases.version_of(champion), time.perf_counter() - started)


def _challenge(client: Any, project: Path) -> Challenge:
    aliases.recover(client)
    challenger, champion = aliases.by_alias(client, CHALLENGER), aliases.by_alias(client, CHAMPION)
    if challenger is None:
        raise UserError("there is no challenger; run `cliplit models register` first")
    mine = aliases.version_of(challenger), version_folder(client, project, challenger) / WEIGHTS
    if champion is None:
        return Challenge(*mine, None, None)
    try:
        theirs = version_folder(client, project, champion) / WEIGHTS
    except UserError as error:  # then a challenger may still reign, if somebody wants that
        return Challenge(*mine, aliases.version_of(champion), None, str(error))
    return Challenge(*mine, aliases.version_of(champion), theirs)


def _settled(found: Challenge) -> str:
    """Why there is nothing to judge; empty when there is."""
    challenger = found.challenger
    if found.champion and found.champion.number == challenger.number:
        return f"version {challenger.number} reigns already"
    if challenger.rolled_back:
        return f"version {challenger.number} was rolled back; `cliplit models rollback` brings it back"
    return ""


def _state(found: Challenge) -> tuple[int, int | None, bool]:
    """What must be the same after the judgement as before it."""
    return found.challenger.number, found.champion.number if found.champion else None, bool(found.champion_lost)


def _deposed(client: Any, found: Challenge) -> str | None:
    """Whom a rollback shall bring back: the champion; None (whom it would bring back now) where its bytes are lost."""
    if found.champion is None:
        return None
    previous = aliases.by_alias(client, PREVIOUS)
    usable = previous is not None and int(previous.version) != found.challenger.number
    return None if found.champion_lost and usable else str(found.champion.number)


def _decide(client: Any, project: Path, found: Challenge, verdicts: tuple[Verdict, ...]) -> Promotion:
    """Move the aliases if all gates passed, and write the decision down as a run of its own, beside the stages."""
    number, champion = str(found.challenger.number), found.champion
    failed = [verdict.reason for verdict in verdicts if not verdict.passed]
    better = not failed
    reason = "; ".join(failed) or (verdicts[0].reason if verdicts else "nothing was asked of it")
    if better and champion and found.champion_lost:
        reason += f"; it was not compared with version {champion.number}, whose bytes are lost"
    if better:
        aliases.move(client, champion=number, previous=_deposed(client, found))
        reigning = aliases.by_alias(client, CHAMPION)
        if str(reigning.version) != number:  # another machine's promotion, which no file lock here holds up, came after
            better, reason = False, f"version {reigning.version} was promoted at the same moment"
    gates = {verdict.gate: verdict.passed for verdict in verdicts}
    client.set_model_version_tag(NAME, number, "cliplit.gates", json.dumps(gates))
    md5 = found.challenger.md5
    tags = {"cliplit.promoted": str(better).lower(), "cliplit.reason": reason, "cliplit.challenger_md5": md5}
    tags["dvc.md5"] = champion.md5 if champion and not better else md5
    figures = {f"{each.gate}.{name}": value for each in verdicts for name, value in each.figures.items()}
    runs.record(client, project, "champion", md5, tags, figures)
    return Promotion(
        better, reason, aliases.version_of(client.get_model_version(NAME, number)), champion, verdicts=verdicts
    )


def _measured(project: Path, md5: str) -> tuple[dict[str, float], str | None]:
    """The evaluation's numbers and the md5 of the dataset, if dvc.lock says that they are about these bytes."""
    inputs = store.locked(project, "evaluate", "deps")
    if inputs.get(MODEL_FOLDER) != md5:
        raise UserError(f"{METRICS}: it is not about the chosen model; run `dvc repro` so that it is measured")
    for fault in dvc.verify_bytes(project, "evaluate"):
        raise UserError(fault)
    return runs.headline(read_json(project / METRICS)), inputs.get("artifacts/dataset")
