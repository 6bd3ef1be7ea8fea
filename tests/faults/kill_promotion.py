"""A promotion or a rollback is killed everywhere: prints {kills, held, faults} for the folder it is given.

A process of its own: what is forked must have no threads, and needs every import once.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from killing import Countdown, kill_everywhere

from cliplit.lineage import aliases, registry


def _aliases(folder: Path) -> dict[str, int]:
    return {alias: found.number for found in registry.list_versions(folder) for alias in found.aliases}


def _on_registry(countdown: Countdown, folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    countdown.on_calls(MlflowClient)
    countdown.on_changes(folder)


def _passes(challenge: registry.Challenge) -> list[registry.Verdict]:
    return [registry.Verdict("test", True, "it passes")]


def _moved(work: Path, act: Any, before: dict[str, int], after: dict[str, int]) -> dict[str, Any]:
    """Kill ``act`` at every call of MLflow's client and every file boundary in the project ``work``/project."""

    def prepare() -> Path:
        shutil.rmtree(work / "killed", ignore_errors=True)
        shutil.copytree(work / "project", work / "killed")
        return work / "killed"

    def check(folder: Path) -> None:
        serving = registry.champion_version(folder)
        assert serving is not None and serving.number in (before["champion"], after["champion"])
        assert registry.champion_file(folder) is not None  # its bytes are whole
        client = aliases.client_of(folder)
        aliases.recover(client)  # what the next one to come does first
        found = _aliases(folder)
        assert found in (before, after), found
        if found == before:
            act(folder)
        assert _aliases(folder) == after

    warm = shutil.copytree(work / "project", work / "warm")
    act(warm)  # in this process, so that the forks need not import what MLflow imports when it is used
    check(warm)
    return kill_everywhere(prepare, act, check, _on_registry)


def promotion(work: Path) -> dict[str, Any]:
    """A promotion killed anywhere: the old champion or the new one, both aliases with it."""
    before, after = {"challenger": 2, "champion": 1}, {"challenger": 2, "champion": 2, "previous": 1}
    return _moved(work, lambda folder: registry.promote(folder, _passes), before, after)


def rollback(work: Path) -> dict[str, Any]:
    """A rollback killed anywhere."""
    before = {"challenger": 2, "champion": 2, "previous": 1}
    after = {"challenger": 2, "champion": 1, "previous": 2}
    return _moved(work, registry.rollback, before, after)


if __name__ == "__main__":
    act = {"promotion": promotion, "rollback": rollback}[sys.argv[2]]
    print("\n" + json.dumps(act(Path(sys.argv[1]).resolve())))
