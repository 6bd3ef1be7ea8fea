"""A film relit: decoding, relighting and encoding at the same time, each in a thread of its own."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from cliplit.enhancer import Enhancer
from cliplit.files import atomic_path
from cliplit.networks.grid import GridNetwork
from cliplit.photos.codecs import save_png
from cliplit.video.flicker import flicker, mean_luma, pumping
from cliplit.video.reading import Film, Step, VideoError, open_film
from cliplit.video.steady import TAU, Steadier
from cliplit.video.writing import CONTAINERS, FilmWriter, write_film

_AHEAD = 4  # frames that may wait between two threads
_EVERY = 8  # every eighth row and column tells the mean luma to a tenth of a level
_PREVIEW_SECONDS = 2.0
_PREVIEW_WIDTH = 640
_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """How a film is relit: strength as for photos, quality (crf; None: the encoder's usual), seconds of smoothing."""

    strength: float = 1.0
    crf: int | None = None
    max_seconds: float | None = None
    preview: Path | None = None
    tau: float = TAU


@dataclass(frozen=True)
class Summary:
    """What was done; ``flicker`` and ``pumping`` as in video/flicker.py, ``fps`` frames a second of wall time."""

    frames: int
    seconds: float
    fps: float
    width: int
    height: int
    codec: str
    pixel_format: str
    flicker: float
    pumping: float
    cuts: list[int]
    damaged: int
    notes: list[str]


@dataclass
class Meter:
    """Mean luma of each frame before and after."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Measure one more frame."""
        self.before.append(mean_luma(before, _EVERY))
        self.after.append(mean_luma(after, _EVERY))


def relight_film(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    settings: Settings,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Summary:
    """Relight the film ``source`` into ``target``, which is written whole or not at all, over what is there.

    Sound, subtitles, chapters, colour tags and every frame's time are kept. ``progress`` hears, after each frame, how
    many are done and about how many there are. Raises VideoError, and ValueError for a network without a grid.
    """
    if not isinstance(enhancer.network, GridNetwork):
        raise ValueError("films need the grid network")
    started = time.perf_counter()
    if target.suffix.lower() not in CONTAINERS:
        raise VideoError(target, f"the ending names no film that cliplit writes; use one of {' '.join(CONTAINERS)}")
    with open_film(source) as film, atomic_path(target) as temporary:
        with write_film(film, target, temporary, settings.crf) as writer:
            steadier, meter = Steadier(settings.tau), Meter()
            _run(film, writer, enhancer, steadier, meter, settings, progress)
        if not meter.before:
            raise VideoError(source, "no frame of it can be decoded; copy it again from its source")
        spent = time.perf_counter() - started
        return Summary(
            frames=len(meter.before),
            seconds=round(spent, 3),
            fps=round(len(meter.before) / spent, 2),
            width=writer.width,
            height=writer.height,
            codec=writer.encoder.name,
            pixel_format=writer.pixel_format,
            flicker=flicker(meter.before, meter.after, steadier.cuts),
            pumping=pumping(meter.before, meter.after, steadier.cuts),
            cuts=steadier.cuts,
            damaged=film.damaged,
            notes=writer.notes,
        )


def _run(
    film: Film,
    writer: FilmWriter,
    enhancer: Enhancer,
    steadier: Steadier,
    meter: Meter,
    settings: Settings,
    progress: Callable[[int, int | None], None],
) -> None:
    stop = Event()
    decoded: _Belt[Step] = _Belt(stop)
    relit: _Belt[tuple[Step, np.ndarray | None]] = _Belt(stop)

    def read() -> None:
        for step in film.steps(settings.max_seconds):
            decoded.put(step)
        decoded.put(None)

    def write() -> None:
        while (item := relit.get()) is not None:
            writer.write(*item)

    previewed = 0.0
    with ThreadPoolExecutor(max_workers=2) as pool:
        workers = [pool.submit(_stopping, stop, read), pool.submit(_stopping, stop, write)]
        try:
            while (step := decoded.get()) is not None:
                if step.pixels is None or step.small is None:
                    relit.put((step, None))
                    continue
                grid = steadier(enhancer.predict(step.small), step.small, step.time)
                pixels = enhancer.apply(step.pixels, grid, settings.strength)
                meter.add(step.pixels, pixels)
                relit.put((step, pixels))
                progress(len(meter.before), film.frames)
                if settings.preview and time.monotonic() - previewed > _PREVIEW_SECONDS:
                    write_preview(settings.preview, step.pixels, pixels)
                    previewed = time.monotonic()
            relit.put(None)
        except _Stopped:
            pass  # a worker failed, and its future has the reason
        except BaseException:
            stop.set()
            raise
        for worker in workers:
            worker.result()


def write_preview(path: Path, before: np.ndarray, after: np.ndarray) -> None:
    """One frame as it was, left, and as it is, right: a PNG at most twice 640 pixels wide, replaced whole."""
    sides = []
    for pixels in (before, after):
        eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
        width = min(_PREVIEW_WIDTH, eight.shape[1])
        size = width, max(1, round(eight.shape[0] * width / eight.shape[1]))
        sides.append(np.asarray(Image.fromarray(eight).resize(size, Image.Resampling.BILINEAR)))
    save_png(path, np.concatenate(sides, axis=1))


class _Stopped(Exception):
    """Another thread has failed."""


class _Belt(Generic[_T]):
    """A short queue between two threads that both leave when ``stop`` is set; None ends it."""

    def __init__(self, stop: Event) -> None:
        self._stop, self._queue = stop, queue.Queue[_T | None](maxsize=_AHEAD)

    def put(self, item: _T | None) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                pass
        raise _Stopped

    def get(self) -> _T | None:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=0.1)
            except queue.Empty:
                pass
        raise _Stopped


def _stopping(stop: Event, work: Callable[[], None]) -> None:
    """Run ``work``; where it fails, the other threads stop as well."""
    try:
        work()
    except _Stopped:
        pass
    except BaseException:
        stop.set()
        raise
