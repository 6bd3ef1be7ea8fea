"""A project with a registry whose models were never trained, and servers that are started as people start them."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import torch
import yaml
from PIL import Image

from cliplit.config import NetworkConfig
from cliplit.lineage import digests, registry
from cliplit.networks import build_network, save_network

ROOT = Path(__file__).parents[2]


class Project:
    """A folder that looks like a project after `dvc repro`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copyfile(ROOT / name, path / name)

    def promote(self, seed: int) -> registry.Version:
        """Write the random weights of ``seed``, register them and let them reign."""
        torch.manual_seed(seed)
        network = build_network(config := NetworkConfig(kind="grid", max_gain=8.0))
        with torch.no_grad():
            for values in network.parameters():
                values.add_(torch.randn_like(values) * 0.02)
        save_network(network, config, self.path / "artifacts/model/model.safetensors")
        self._write("artifacts/model/choice.json", {"round": str(seed)})
        self._write("artifacts/metrics/evaluation.json", {"score": float(seed), "photos": 7})
        self._write("artifacts/metrics/select.json", {"score_0": float(seed)})
        self._write("artifacts/evaluation/per_photo.json", {})
        stages = {
            "select": {"outs": self._rows("artifacts/model", "artifacts/metrics/select.json")},
            "evaluate": {
                "deps": [{"path": "artifacts/dataset", "md5": "d" * 32}, *self._rows("artifacts/model")],
                "outs": self._rows("artifacts/evaluation", "artifacts/metrics/evaluation.json"),
            },
        }
        (self.path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
        registry.register_challenger(self.path)
        return registry.promote(self.path, lambda challenge: []).version

    def _rows(self, *paths: str) -> list[dict[str, str]]:
        return [{"path": path, "md5": digests.path_md5(self.path / path)} for path in paths]

    def _write(self, path: str, content: dict[str, object]) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))


class Server:
    """`cliplit serve` in a process of its own, on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "cliplit", "serve", "--port", "0", "--device", "cpu", *options]
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            self.address = wait_for(lambda: re.search(r"http://\S+", self.log.read_text()), self.process)[0]
            wait_for(lambda: _answers(self.address), self.process)
        except BaseException:
            self.process.kill()
            raise

    def health(self) -> dict:
        """What /healthz says."""
        return httpx.get(f"{self.address}/healthz", timeout=30).json()

    def end(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()


def wait_for(found: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 300):
    """What ``found`` returns once it is true; fails when the process ends first or time is up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        assert process is None or process.poll() is None, "the process ended"
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def photo(width: int = 96, height: int = 64, kind: str = "JPEG", **options: object) -> bytes:
    """A photo file: a dark figure before a bright sky."""
    rows, columns = np.mgrid[0:height, 0:width]
    sky = np.stack([150 + 90 * rows / height, 200 + 0 * rows, 240 + 0 * rows], axis=-1)
    figure = (abs(columns - width / 2) < width / 5)[..., None]
    pixels = np.where(figure, 10 + 20 * (rows / height)[..., None], sky).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, kind, **options)
    return encoded.getvalue()
