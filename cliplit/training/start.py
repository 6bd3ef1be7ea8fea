"""Stage start: whether round 0 begins anew, or goes on from the champion because little of the photos has changed.

The champion lies in data/champion/model, where ingest puts it (lineage.champion); the stage reads that folder, the
dataset and params.yaml, and nothing else, so that `dvc repro` alone comes to the same decision and the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cliplit.config import Params, PhaseConfig
from cliplit.files import atomic_path, read_json, write_json
from cliplit.lineage import digests, graph
from cliplit.lineage.champion import CHAMPION, NETWORK, PROMPTS, RECORD
from cliplit.photos.curate import load_manifest

START = Path("artifacts/start")
METRICS = Path("artifacts/metrics/start.json")
_DECISION = "start.json"
_LITTLE = "{:.0%} of the photos changed, less than retrain.warm_start_below"
_ANEW: dict[str, Any] = {"from": "scratch", "steps": 1.0}
_SAME = ("guidance", "network")  # the champion must have learned under these parts of params.yaml

Photos = set[tuple[str, str]]  # role and md5 of each photo as training reads it


@dataclass(frozen=True)
class Start:
    """Round 0 starts from the champion's files, or anew where they are None; ``steps`` is a share of its steps."""

    network: Path | None
    prompts: Path | None
    steps: float

    @property
    def files(self) -> list[Path]:
        """What determines a run besides its parameters."""
        return [path for path in (self.network, self.prompts) if path is not None]

    def shortened(self, phase: PhaseConfig) -> PhaseConfig:
        """The phase as long as this start asks for, at least one step."""
        return PhaseConfig(steps=max(1, round(phase.steps * self.steps)), learning_rate=phase.learning_rate)


def read_start(project: Path) -> Start:
    """What the stage start decided; a project in which it never ran begins anew."""
    folder = project / START
    decision = read_json(folder / _DECISION) if (folder / _DECISION).is_file() else _ANEW
    if decision["from"] == _ANEW["from"]:
        return Start(None, None, 1.0)
    return Start(folder / NETWORK, folder / PROMPTS, float(decision["steps"]))


def run(params: Params, project: Path) -> None:
    """Write artifacts/start/{start.json, and the champion's network and prompts}, and artifacts/metrics/start.json."""
    now = _photos_of(project)
    record = read_json(project / CHAMPION / RECORD) if (project / CHAMPION / RECORD).is_file() else None
    earlier = _recorded(record, "train") | _recorded(record, "val")
    changed = changed_share(now["train"] | now["val"], earlier)
    obstacle = _obstacle(project, record, now["val"], changed, params.retrain.warm_start_below)
    for name in (NETWORK, PROMPTS):
        (project / START / name).unlink(missing_ok=True)
        if obstacle is None:
            with atomic_path(project / START / name) as temporary:
                temporary.write_bytes((project / CHAMPION / name).read_bytes())
    decision = _ANEW if obstacle else {"from": "champion", "steps": params.retrain.warm_start_steps}
    write_json(project / START / _DECISION, decision)
    told = {
        "start": decision["from"],
        "start_reason": obstacle or _LITTLE.format(changed),
        "changed": round(changed, 6),
    }
    counts = {"photos": len(now["train"] | now["val"]), "champion_photos": len(earlier), "warm": int(not obstacle)}
    write_json(project / METRICS, told | counts)
    print(f"start: {decision['from']}; {told['start_reason']}")


def changed_share(now: Photos, earlier: Photos) -> float:
    """Photos added or gone, as a share of all that stand in either set: 0 for the same photos, 1 for all others."""
    return len(now ^ earlier) / len(now | earlier) if now | earlier else 1.0


def _obstacle(
    project: Path, record: dict[str, Any] | None, held_out: Photos, changed: float, below: float
) -> str | None:
    """Why training must begin anew, in one sentence; None when it may go on from the champion."""
    if record is None:
        return "there is no champion to go on from"
    params = graph.read_yaml(project / "params.yaml")
    for name in _SAME:
        if record["params"].get(name) != params.get(name):
            return f"the champion learned under another '{name}' in params.yaml"
    seen = len(held_out & _recorded(record, "train"))
    if seen:
        return f"the champion was trained on {seen} of the photos that are held out now"
    if changed >= below:
        return f"{changed:.0%} of the photos changed, not less than retrain.warm_start_below"
    return None


def _photos_of(project: Path) -> dict[str, Photos]:
    """Role and md5 of the dataset's photos, by split."""
    folder = project / "artifacts" / "dataset" / "photos"
    found: dict[str, Photos] = {"train": set(), "val": set()}
    for photo, role, split in load_manifest(project)[["photo", "role", "split"]].itertuples(index=False):
        found[str(split)].add((str(role), digests.file_md5(folder / str(photo))))
    return found


def _recorded(record: dict[str, Any] | None, split: str) -> Photos:
    return {(role, md5) for role, md5 in (record or {}).get("photos", {}).get(split, [])}
