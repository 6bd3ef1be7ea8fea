"""The work of ``cliplit enhance``: photos read, relit and written by a few threads, none of which one file can stop."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Semaphore
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cliplit.commands.planning import PIPE, Job
from cliplit.errors import PhotoError
from cliplit.photos.codecs import (
    DEFAULT_MAX_PIXELS,
    Photo,
    decode_photo,
    eight_bit,
    encode_photo,
    read_photo,
    save_png,
    to_srgb,
    write_photo,
)

if TYPE_CHECKING:
    from cliplit.enhancer import Enhancer

RELIT, SKIPPED, FAILED = "relit", "skipped", "failed"
PREVIEW_SIDE = 1000  # px, long side of each half
_MOST_PIPED = 2**31  # bytes; a pipe that never ends must not fill the memory
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Settings:
    """How photos are relit and written."""

    strength: float = 1.0
    overwrite: bool = False
    resume: bool = False
    preview: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    quality: int | None = None


@dataclass(frozen=True)
class Result:
    """What came of a job: RELIT, SKIPPED (it was done before) or FAILED, for a ``reason`` in one sentence."""

    job: Job
    status: str
    reason: str | None = None
    size: tuple[int, int] | None = None  # width, height
    seconds: float = 0.0


def preview_of(target: Path) -> Path:
    """Where the picture before and after lies, beside the photo itself."""
    return target.with_name(f"{target.name}.preview.png")


def relight_all(
    enhancer: Enhancer, jobs: Sequence[Job], settings: Settings, threads: int = 1
) -> Generator[Result, None, None]:
    """Results in the order of ``jobs``. While one photo is relit, others are read and written.

    A photo is computed on all cores, so one at a time is; the bytes do not depend on ``threads``. Closing the
    generator, as Ctrl-C does, waits for files that are being written, not for photos that are being computed.
    """
    worker = _Worker(enhancer, settings, threads)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="relight")
    try:
        yield from pool.map(worker.relight, jobs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        worker.stop()


class _Worker:
    """Relights one photo after the other, in several threads."""

    def __init__(self, enhancer: Enhancer, settings: Settings, threads: int) -> None:
        self.enhancer = enhancer
        self.settings = settings
        self.threads = threads
        self.turn = Lock()  # to compute
        self.pens = Semaphore(threads)  # to write; who has all of them knows that no file is half written
        self.stopped = Event()

    def relight(self, job: Job) -> Result:
        """Relight one photo; whatever is wrong with it becomes its result, but a full disk ends the run."""
        began = time.perf_counter()
        taken = [path for path in _written(job, self.settings) if os.path.lexists(path)]
        if taken and self.settings.resume:
            return Result(job, SKIPPED)
        if taken and not self.settings.overwrite:
            return Result(job, FAILED, f"{taken[0]} exists; pass --overwrite to replace it, or --resume to leave it")
        try:
            photo = _read(job.source, self.settings.max_pixels)
            with self.turn:
                relit = self.enhancer.enhance_photo(photo, self.settings.strength)
            preview = _side_by_side(photo, relit) if self.settings.preview else None
            del photo  # its memory is wanted for encoding
            with self.pens:
                if self.stopped.is_set():
                    return Result(job, FAILED, "stopped before it was written")
                _write(relit, job.target, self.settings)
                if preview is not None:
                    save_png(preview_of(job.target), preview)
        except Exception as error:  # decoders and encoders raise almost any type, and other photos are still waiting
            return Result(job, FAILED, _why(error, job))
        height, width = relit.pixels.shape[:2]
        return Result(job, RELIT, size=(width, height), seconds=time.perf_counter() - began)

    def stop(self) -> None:
        """Nothing is written any more once this returns."""
        self.stopped.set()
        for _ in range(self.threads):
            self.pens.acquire()


def _written(job: Job, settings: Settings) -> list[Path]:
    """The files that ``job`` makes, the photo first; to resume, the photo alone tells."""
    if job.target == PIPE:
        return []
    return [job.target, *([preview_of(job.target)] if settings.preview and not settings.resume else [])]


def _read(source: Path, max_pixels: int) -> Photo:
    if source != PIPE:
        return read_photo(source, max_pixels)
    data = sys.stdin.buffer.read(_MOST_PIPED + 1)
    if len(data) > _MOST_PIPED:
        raise PhotoError(source, "more than 2 GB came from stdin; pipe one photo")
    return decode_photo(data, "stdin", max_pixels)


def _write(photo: Photo, target: Path, settings: Settings) -> None:
    if target != PIPE:
        write_photo(photo, target, overwrite=settings.overwrite, quality=settings.quality)
        return
    sys.stdout.buffer.write(encode_photo(photo, quality=settings.quality))
    sys.stdout.buffer.flush()


def _side_by_side(before: Photo, after: Photo) -> np.ndarray:
    """Both as sRGB, no larger than a screen, before on the left."""
    halves = []
    for photo in (before, after):
        image = Image.fromarray(np.ascontiguousarray(to_srgb(eight_bit(photo)).pixels))
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
        halves.append(np.asarray(image))
    return np.concatenate(halves, axis=1)


def _why(error: Exception, job: Job) -> str:
    """The reason in one sentence; raises what is no fault of this photo."""
    if isinstance(error, PhotoError):
        return error.reason if error.path in {str(job.source), "stdin"} else str(error)
    if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno in _FULL):
        raise error
    if isinstance(error, MemoryError):
        return "does not fit into memory; make it smaller first"
    if isinstance(error, RuntimeError) and "memory" in str(error):
        return "does not fit into memory; make it smaller first, or pass --device cpu"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or job.target}"
    return f"{type(error).__name__}: {error}; this is a fault of cliplit's, please report it with the photo"
