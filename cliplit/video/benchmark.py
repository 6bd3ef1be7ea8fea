"""How fast a film is relit, and how steady it is beside relighting each frame by itself; on clips rendered here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cliplit.enhancer import Enhancer
from cliplit.photos.demo import render_photo
from cliplit.video.flicker import flicker, mean_luma, pumping
from cliplit.video.relight import Settings, Summary, relight_film
from cliplit.video.steady import Steadier
from cliplit.video.synthetic import panning, slideshow

_RATE = 30
_MEASURED = 256, 144  # px; light is predicted from thumbnails of that size in any case


@dataclass(frozen=True)
class Steadiness:
    """A clip relit steadily and frame by frame: ``flicker`` and ``pumping`` of video/flicker.py for each."""

    clip: str
    flicker: float
    flicker_each: float
    pumping: float
    pumping_each: float
    cuts: int


@dataclass(frozen=True)
class Result:
    """Frames a second from file to file, the fastest of ``runs``, and how steady the clips come out."""

    width: int
    height: int
    frames: int
    runs: int
    fps: float
    codec: str
    steadiness: list[Steadiness]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(enhancer: Enhancer, size: tuple[int, int], frames: int, runs: int) -> Result:
    """Relight a panning clip of ``size`` (width, height) from file to file, ``runs`` times, and compare steadiness."""
    with tempfile.TemporaryDirectory() as folder:
        clip, target = Path(folder, "clip.mp4"), Path(folder, "relit.mp4")
        write_clip(clip, panning(frames, size))
        done: list[Summary] = [relight_film(clip, target, enhancer, Settings()) for _ in range(runs)]
    best = max(done, key=lambda summary: summary.fps)
    return Result(*size, frames, runs, best.fps, best.codec, steadiness(enhancer))


def steadiness(enhancer: Enhancer, frames: int = 120) -> list[Steadiness]:
    """The pan, and slides with a sensor's noise, without and with an exposure that wobbles."""
    photos = [render_photo("backlit", 9, index) for index in range(4)]
    clips = {
        "pan": panning(frames, _MEASURED, seed=1),
        "slides, noise": slideshow(photos, frames, _MEASURED, wobble=0.0),
        "slides, noise and wobble": slideshow(photos, frames, _MEASURED, wobble=0.03),
    }
    return [compare(enhancer, name, clip) for name, clip in clips.items()]


def compare(enhancer: Enhancer, name: str, clip: Iterable[np.ndarray]) -> Steadiness:
    """``clip`` (uint8 frames, 30 a second) relit steadily and frame by frame."""
    steadier = Steadier()
    before, steady, each = [], [], []
    for index, frame in enumerate(clip):
        grid = enhancer.predict(frame)
        before.append(mean_luma(frame))
        each.append(mean_luma(enhancer.apply(frame, grid)))
        steady.append(mean_luma(enhancer.apply(frame, steadier(grid, frame, index / _RATE))))
    cuts = steadier.cuts
    return Steadiness(
        name,
        flicker(before, steady, cuts),
        flicker(before, each, cuts),
        pumping(before, steady, cuts),
        pumping(before, each, cuts),
        len(cuts),
    )


def write_clip(path: Path, frames: Iterable[np.ndarray], crf: int = 18) -> None:
    """``frames`` (uint8, even sides) as a film of 30 a second in the codec that cliplit writes by itself."""
    from cliplit.video.writing import pick_encoder

    encoder = pick_encoder(8, "mp4", path)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for index, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(
                    encoder.name, rate=_RATE, options={**dict(encoder.options), "crf": str(crf)}
                )
                stream.width, stream.height, stream.pix_fmt = pixels.shape[1], pixels.shape[0], "yuv420p"
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _RATE)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def table(result: Result) -> str:
    """The result in plain text."""
    lines = [
        f"{result.width} x {result.height}, {result.frames} frames, file to file with {result.codec}: "
        f"{result.fps:.1f} frames a second (best of {result.runs})",
        "",
        f"{'flicker (film = 1) and pumping (%)':<36}{'cliplit video':>20}{'frame by frame':>20}",
    ]
    for row in result.steadiness:
        ours, each = f"{row.flicker:.2f}  {row.pumping:.2f} %", f"{row.flicker_each:.2f}  {row.pumping_each:.2f} %"
        lines.append(f"{row.clip:<36}{ours:>20}{each:>20}")
    return "\n".join(lines)
