"""Training is killed in the middle of its checkpoints: prints {kills, held, faults} for the folder it is given.

A process of its own: what is forked must have no threads, and needs every import once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
import torch._dynamo
from killing import in_fork, kill_everywhere, tear_everywhere
from torch import nn

from cliplit.config import PhaseConfig
from cliplit.training.checkpoint import Checkpoints
from cliplit.training.loop import Phase, descend

_STEPS, _EVERY = 9, 3


class _Silent:
    def metrics(self, values: dict[str, float], step: int = 0) -> None: ...


def train(folder: Path) -> None:
    """The real training loop on a small network, with a checkpoint every three steps."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 1))

    def loss(step: int) -> dict[str, torch.Tensor]:
        crops = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
        return {"loss": (module(crops) - crops.sum(1, keepdim=True)).square().mean()}

    phase = Phase("enhancer", PhaseConfig(steps=_STEPS, learning_rate=0.01), loss)
    checkpoints = Checkpoints(folder / "run" / "fingerprint")
    descend("test", module, [phase], dict, checkpoints, _EVERY, 0.0, _Silent())


def result_of_training(folder: Path) -> str:
    """A hash of weights, Adam's memory and curve after the last step."""
    last = folder / "run" / "fingerprint" / f"step-{_STEPS:08d}.json"
    return hashlib.sha256(last.read_bytes() + last.with_suffix(".safetensors").read_bytes()).hexdigest()


def checkpoint(work: Path) -> dict[str, Any]:
    """Training killed at every file boundary ends, resumed, in the bits of one that was not."""
    whole = work / "whole"
    assert in_fork(lambda: train(whole)) == "done"
    wanted = result_of_training(whole)
    sizes = sorted({path.stat().st_size for path in whole.rglob("step-*")})

    def prepare() -> Path:
        shutil.rmtree(work / "killed", ignore_errors=True)
        (work / "killed").mkdir()
        return work / "killed"

    def check(folder: Path) -> None:
        train(folder)
        assert result_of_training(folder) == wanted

    found = kill_everywhere(prepare, train, check)
    torn = tear_everywhere([size * part // 8 for size in sizes for part in range(8)], prepare, train, check)
    return {name: found[name] + torn[name] for name in found}


if __name__ == "__main__":
    print("\n" + json.dumps(checkpoint(Path(sys.argv[1]).resolve())))
