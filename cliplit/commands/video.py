"""``cliplit video``: relight a film or a pipe of raw frames; ``cliplit bench video``: how fast, and how steady."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cliplit.errors import UserError

if TYPE_CHECKING:
    from cliplit.enhancer import Enhancer
    from cliplit.video.relight import Settings, Summary


class Size(click.ParamType):
    """WxH on the command line."""

    name = "WxH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Width and height in pixels; fails for anything else."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            self.fail(f"'{value}' is not WxH, as in 640x480", param, ctx)
        return int(width), int(height)


@click.command()
@click.argument("film", metavar="IN")
@click.option("-o", "--output", required=True, help="The relit film: .mp4, .mov, .m4v, .mkv or .webm; or -, with IN -.")
@click.option("--model", default="champion", show_default=True, help="champion, NAME@ALIAS or a weights file.")
@click.option("--strength", type=click.FloatRange(0, 2), default=1.0, show_default=True, help="0 changes nothing.")
@click.option("--denoise/--no-denoise", default=False, show_default=True, help="Calm the noise of lifted shadows.")
@click.option("--crf", "--quality", type=click.IntRange(1, 63), help="Smaller is better and larger; H.264: 20.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Only the film's beginning.")
@click.option("--preview", type=click.Path(path_type=Path), help="A PNG, before and after, renewed while it runs.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it is there.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON on stdout.")
@click.option("--size", type=Size(), help="Of raw frames on stdin.")
@click.option("--format", "pixel_format", type=click.Choice(["rgb24", "bgr24"]), default="rgb24", show_default=True)
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="Of stdin.")
def video(
    film: str,
    output: str,
    model: str,
    strength: float,
    denoise: bool,
    crf: int | None,
    max_seconds: float | None,
    preview: Path | None,
    overwrite: bool,
    device: str,
    as_json: bool,
    size: tuple[int, int] | None,
    pixel_format: str,
    fps: float,
) -> None:
    """Relight the film IN, steadily from frame to frame; sound, subtitles, chapters and times stay as they are.

    With - for both IN and -o, raw frames go from stdin to stdout, each as soon as it is relit.

    \b
    cliplit video holiday.mp4 -o relit.mp4
    cliplit video holiday.mov -o relit.mkv --strength 0.7 --preview now.png
    ffmpeg -i IN -f rawvideo -pix_fmt rgb24 - | cliplit video - -o - --size 640x480 | ffplay ...
    """
    if (film == "-") != (output == "-"):
        raise UserError("-: raw frames go from stdin to stdout; give - for both, or a file for both")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: nothing half-written stays
    if film == "-":
        if size is None:
            raise UserError("--size: raw frames do not say how large they are; pass it, as in --size 640x480")
        _pipe(_load(model, device, denoise), size, strength, pixel_format, fps)
        return
    from cliplit.video.relight import Settings

    source, target = Path(film), Path(output)
    if os.path.lexists(target):
        if target.is_dir():
            raise UserError(f"{target}: is a folder; name a file with -o")
        if target.exists() and source.exists() and target.samefile(source):
            raise UserError(f"{target}: is the film itself; name another file with -o")
        if not overwrite:
            raise UserError(f"{target}: exists already; choose another name or pass --overwrite")
    if preview is not None and preview.suffix.lower() != ".png":
        raise UserError(f"{preview}: the preview is a PNG; name it so")
    settings = Settings(strength, crf, max_seconds, preview)
    enhancer = _load(model, device, denoise)
    _report(_relight(source, target, enhancer, settings), target, as_json)


def _relight(source: Path, target: Path, enhancer: Enhancer, settings: Settings) -> Summary:
    from tqdm import tqdm

    from cliplit.video.relight import relight_film

    with tqdm(desc="relighting", unit="frame", disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = max(total, done) if total else None
            bar.update(done - bar.n)

        return relight_film(source, target, enhancer, settings, progress)


def _report(summary: Summary, target: Path, as_json: bool) -> None:
    for note in summary.notes:
        click.echo(f"{target}: {note}", err=True)
    if summary.damaged:
        click.echo(f"{target}: {summary.damaged} frames were damaged in the film and are relit as they are", err=True)
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"output": str(target)}, indent=2))
        return
    frames = f"{summary.frames} frame{'' if summary.frames == 1 else 's'}"
    click.echo(f"{frames} relit into {target} ({summary.fps:.1f} a second, {summary.codec}).")


def _load(model: str, device: str, denoise: bool) -> Enhancer:
    from cliplit.enhancer import Enhancer
    from cliplit.networks.grid import GridNetwork

    enhancer = Enhancer.load(model, device, denoise=denoise)
    if not isinstance(enhancer.network, GridNetwork):
        raise UserError(
            f"{model}: films need the fast network; pass --model FILE with the weights of a network of the kind grid"
        )
    return enhancer


def _pipe(enhancer: Enhancer, size: tuple[int, int], strength: float, pixel_format: str, rate: float) -> None:
    from cliplit.video.raw import relight_pipe

    try:
        done = relight_pipe(sys.stdin.buffer, sys.stdout.buffer, size, enhancer, strength, pixel_format, rate)
    except KeyboardInterrupt:
        sys.exit(130)
    click.echo(f"{done} frame{'' if done == 1 else 's'} relit.", err=True)
    # Whoever read stdout may be gone; then Python's own flush at the end would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.command("video")
@click.option("--model", default="champion", show_default=True, help="champion, NAME@ALIAS or a weights file.")
@click.option("--size", type=Size(), default=(1920, 1080), show_default="1920x1080", help="Of the clip.")
@click.option("--frames", type=click.IntRange(min=2), default=150, show_default=True, help="How long the clip is.")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="The fastest counts.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench_video(model: str, size: tuple[int, int], frames: int, runs: int, device: str, as_json: bool) -> None:
    """Films: frames a second from file to file, and flicker beside relighting each frame by itself."""
    from cliplit.video import benchmark

    result = benchmark.measure(_load(model, device, denoise=False), size, frames, runs)
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else benchmark.table(result))
