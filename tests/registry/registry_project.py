"""A project whose dvc.lock, model and metrics are written by hand, so that no training is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import yaml

from cliplit.config import NetworkConfig
from cliplit.lineage import digests
from cliplit.networks import build_network, save_network

ROOT = Path(__file__).resolve().parents[2]


class Project:
    """A folder that looks like a project after `dvc repro`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(ROOT / name, path / name)

    def trained(self, seed: int, score: float, dataset: str = "d" * 32) -> str:
        """Write a model with the random weights of ``seed``, scored ``score`` on ``dataset``; returns its md5."""
        torch.manual_seed(seed)
        config = NetworkConfig(kind="grid", max_gain=8.0)
        model = self.path / "artifacts/model"
        save_network(build_network(config), config, model / "model.safetensors")
        (model / "choice.json").write_text(json.dumps({"round": str(seed)}))
        self._write("artifacts/metrics/evaluation.json", {"score": score, "photos": 7})
        self._write("artifacts/metrics/select.json", {"score_0": score})
        self._write("artifacts/evaluation/per_photo.json", {})
        self.lock(dataset)
        return digests.path_md5(model)

    def lock(self, dataset: str) -> None:
        """Write dvc.lock about the files as they are."""
        stages = {
            "curate": {"outs": [{"path": "artifacts/dataset", "md5": dataset}]},
            "select": {"outs": self._rows("artifacts/model", "artifacts/metrics/select.json")},
            "evaluate": {
                "deps": [{"path": "artifacts/dataset", "md5": dataset}, *self._rows("artifacts/model")],
                "outs": self._rows("artifacts/evaluation", "artifacts/metrics/evaluation.json"),
            },
        }
        (self.path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def _rows(self, *paths: str) -> list[dict[str, str]]:
        return [{"path": path, "md5": digests.path_md5(self.path / path)} for path in paths]

    def _write(self, path: str, content: dict[str, object]) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
