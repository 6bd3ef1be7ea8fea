"""Frames through a pipe: raw RGB in on one side, relit raw RGB out on the other, each as soon as it is there."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.video.steady import TAU, Steadier

FORMATS = ("rgb24", "bgr24")
_MOST_SIDE = 16384
_SMALL = 256


def relight_pipe(
    source: BinaryIO,
    sink: BinaryIO,
    size: tuple[int, int],
    enhancer: Enhancer,
    strength: float = 1.0,
    pixel_format: str = "rgb24",
    rate: float = 30.0,
) -> int:
    """Relight frames of ``size`` (width, height) from ``source`` to ``sink`` until either ends; returns how many.

    Every frame is written and flushed before the next is read. ``rate``, frames a second, says how fast the light may
    change. Raises UserError where the input ends inside a frame, because then the size is usually wrong.
    """
    width, height = size
    if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE):
        raise UserError(f"--size {width}x{height}: sides are 1 to {_MOST_SIDE} pixels")
    wanted = width * height * 3
    steadier, done = Steadier(TAU), 0
    every = max(1, max(size) // _SMALL)
    while True:
        data = _read(source, wanted)
        if not data:
            return done
        if len(data) < wanted:
            raise UserError(
                f"stdin ended inside a frame ({len(data)} of {wanted} bytes, after {done} frames); does --size fit?"
            )
        frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        pixels = np.ascontiguousarray(frame[..., ::-1] if pixel_format == "bgr24" else frame)
        small = _small(pixels, every)
        grid = steadier(enhancer.predict(small), small, done / rate)
        relit = enhancer.apply(pixels, grid, strength)
        try:
            sink.write(np.ascontiguousarray(relit[..., ::-1] if pixel_format == "bgr24" else relit).data)
            sink.flush()
        except BrokenPipeError:
            return done  # whoever watched has gone
        done += 1


def _small(pixels: np.ndarray, every: int) -> np.ndarray:
    """Means of ``every`` x ``every`` pixels."""
    height, width = (side // every * every for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // every, every, width // every, every, 3)
    result: np.ndarray = blocks.mean(axis=(1, 3), dtype=np.float32).round().astype(np.uint8)
    return result


def _read(source: BinaryIO, size: int) -> bytearray:
    """``size`` bytes, fewer only at the end: a pipe gives what it has."""
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        got = source.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            break
        filled += got
    view.release()
    del data[filled:]
    return data
