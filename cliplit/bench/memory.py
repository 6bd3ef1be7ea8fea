"""How much memory relighting a file takes, measured in a process of its own: ``python -m cliplit.bench.memory``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cliplit.bench.subjects import papers_network
from cliplit.enhancer import Enhancer
from cliplit.photos.codecs import read_photo, write_photo

_STATUS = Path("/proc/self/status")
_PEAK_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """Bytes: the process's peak, what it held before the file came, and the decoded 8-bit photo; and seconds."""

    peak: int
    before: int
    photo: int
    seconds: float

    @property
    def multiple(self) -> float:
        """The peak above what was held before, in decoded photos."""
        return (self.peak - self.before) / self.photo


def measure(source: Path, target: Path, model: Path | None) -> Memory | None:
    """Relight ``source`` into ``target`` in a fresh process; None where the system does not tell (all but Linux).

    ``model`` is a weights file; None stands for a network of the paper's kind with random weights.
    """
    if not _PEAK_RESET.exists():
        return None
    command = [sys.executable, "-m", "cliplit.bench.memory", str(source), str(target), str(model or "")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def _main(source: str, target: str, model: str) -> None:
    enhancer = Enhancer.load(model, "cpu") if model else Enhancer(papers_network())
    enhancer.enhance(np.full((300, 400, 3), 40, np.uint8))  # what is loaded or compiled on first use is not the photo's
    _PEAK_RESET.write_text("5", encoding="ascii")
    before = _bytes("VmRSS")
    began = time.perf_counter()
    photo = read_photo(source)
    size = photo.pixels.shape[0] * photo.pixels.shape[1] * 3
    relit = enhancer.enhance_photo(photo)
    del photo
    write_photo(relit, target, overwrite=True)
    seconds = time.perf_counter() - began
    print(json.dumps(asdict(Memory(_bytes("VmHWM"), before, size, seconds))))


def _bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
