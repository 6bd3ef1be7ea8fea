"""The model that serves, and the thread that looks whether another one reigns by now.

A new champion is loaded and tried out while the old one serves; only then do they change places, in one assignment. A
champion that cannot be read, or that relights nothing, stays outside, and why is told by ``problem``.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cliplit.enhancer import CHAMPION, SHIPPED, Enhancer
from cliplit.errors import UserError
from cliplit.lineage import registry
from cliplit.lineage.digests import path_md5
from cliplit.serve.limits import POLL_SECONDS
from cliplit.serve.metrics import Metrics

log = logging.getLogger("cliplit.serve")


@dataclass(frozen=True)
class Served:
    """One loaded model; ``version`` is None for weights that are not the registry's."""

    label: str  # "3", "shipped", or the weights file's name
    version: int | None
    md5: str  # the version's DVC md5, or that of the weights file
    enhancer: Enhancer
    since: float = field(default_factory=time.time)  # seconds since the epoch


class Follower:
    """Holds the model that serves; with ``source`` "champion" it follows the registry of ``project``."""

    def __init__(
        self,
        source: Path | str = CHAMPION,
        project: Path = Path(),
        device: str = "auto",
        metrics: Metrics | None = None,
        interval: float = POLL_SECONDS,
    ) -> None:
        self.problem: str | None = None
        self.follows = str(source) == CHAMPION
        self.checked = time.monotonic()
        self.metrics = metrics or Metrics()
        self._project, self._device, self._interval = project, device, interval
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # The first model must load: a server that cannot reach its registry shall not start with another one.
        found = self._champion(None) if self.follows else _load(Path(source), Path(source).name, None, device)
        self.served = found or _load(SHIPPED, "shipped", None, device)
        self._tell()

    def start(self) -> None:
        """Look for another champion every ``interval`` seconds, until ``stop``; nothing for a fixed file."""
        if self.follows and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="cliplit-follower", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; a model that is being loaded is not waited for."""
        self._stopping.set()

    def check(self) -> None:
        """Look once: serve the champion if it is another one; whatever is wrong with it goes to ``problem``."""
        try:
            found = self._champion(self.served)
        except Exception as error:  # the old model serves on, whatever a registry or a weights file does
            self._trouble(_sentence(error))
        else:
            if found is None and self.served.version is not None:
                self._trouble(f"no champion reigns any more; version {self.served.label} serves on")
            else:
                self.problem = None
                self.metrics.problem.set(0)
            if found is not None and found is not self.served:
                self.served = found
                self.metrics.swaps.inc()
                self._tell()
        self.checked = time.monotonic()

    def _champion(self, current: Served | None) -> Served | None:
        """The reigning model, ``current`` itself if it is that one; None when none reigns. Raises when it is broken."""
        for _ in range(3):
            before = registry.champion_version(self._project)
            if before is None:
                return None
            if current is not None and (before.number, before.md5) == (current.version, current.md5):
                return current
            path = registry.champion_file(self._project)
            after = registry.champion_version(self._project)
            if path is not None and after is not None and after.number == before.number:
                return _load(path, str(before.number), before.number, self._device, before.md5)
        raise UserError("the champion changed three times while it was looked for; it is looked for again")

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.check()

    def _tell(self) -> None:
        self.metrics.serves(self.served.version, self.served.label, self.served.md5)
        log.info("Serving model %s (%s).", self.served.label, self.served.md5[:8])

    def _trouble(self, sentence: str) -> None:
        if sentence != self.problem:
            log.warning("Model %s serves on: %s", self.served.label, sentence)
        self.problem = sentence
        self.metrics.problem.set(1)
        self.metrics.load_failures.inc()


def _load(path: Path, label: str, version: int | None, device: str, md5: str | None = None) -> Served:
    """The weights in ``path``, loaded and tried out; raises UserError when they do not relight."""
    served = Served(label, version, md5 or "", Enhancer.load(path, device))
    ramp = np.linspace(0.02, 0.98, 640, dtype=np.float32)
    trial = np.stack([np.outer(ramp, ramp)] * 3, axis=-1)
    served.enhancer.enhance((trial * 255).astype(np.uint8), 1.0)  # compiles what photos take, before one has to wait
    relit = served.enhancer.enhance(trial, 1.0)
    if not np.isfinite(relit).all() or relit.max() - relit.min() < 0.1:
        raise UserError(f"{path}: this model turns a photo into nothing; promote another one")
    return served if md5 else Served(label, version, path_md5(path), served.enhancer)


def _sentence(error: Exception) -> str:
    """What a user error says; of any other, its type and first line."""
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
