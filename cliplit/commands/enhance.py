"""``cliplit enhance``: relight photos with the champion, or with any other model."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import click
from tqdm import tqdm

from cliplit.commands.planning import PIPE, Job, plan
from cliplit.commands.relighting import FAILED, RELIT, SKIPPED, Result, Settings, relight_all
from cliplit.errors import UserError
from cliplit.photos.codecs import DEFAULT_MAX_PIXELS, PHOTO_SUFFIXES

INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended
_MOST_JOBS = 4  # more photos in memory at a time gain nothing: one after the other is computed on all cores
EXAMPLES = """\b
Examples:
  cliplit enhance photo.jpg -o relit              into the folder relit/
  cliplit enhance photo.jpg -o better.png         to this file; the ending decides the format
  cliplit enhance holiday "2026-*/*.tif" -o relit --strength 0.7
  cliplit enhance holiday -o relit --resume       go on where an earlier run was stopped
  cliplit enhance - -o - < in.jpg > out.jpg       in a pipe
"""


class Pixels(click.ParamType):
    """A number of pixels, as 50000000 or 50MP."""

    name = "pixels"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails for anything that is none above zero."""
        digits = str(value).upper()
        try:
            count = float(digits.removesuffix("MP")) * (1_000_000 if digits.endswith("MP") else 1)
        except ValueError:
            count = 0
        if not 1 <= count < 1e12:
            self.fail(f"'{value}' is no number of pixels, as in 50MP", param, ctx)
        return int(count)


@click.command(epilog=EXAMPLES)
@click.argument("photos", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="PHOTO...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(allow_dash=True),
    metavar="OUT",
    help="Folder for the relit photos; for one photo also a file, or - for stdout.",
)
@click.option("--strength", type=click.FloatRange(0, 2), default=1.0, show_default=True, help="0 (nothing) to 1.5.")
@click.option("--denoise/--no-denoise", default=True, show_default=True, help="Calm the noise of lifted shadows.")
@click.option("--model", metavar="NAME", help="champion (default), NAME@ALIAS of the registry, or a weights file.")
@click.option("--weights", type=click.Path(), hidden=True)
@click.option("--network", type=click.Choice(["grid", "unet"]), help="Of the shipped models: the fast, or the paper's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=lambda: min(_MOST_JOBS, os.cpu_count() or 1),
    show_default="cores, at most 4",
    help="Photos read and written at a time; the results are the same.",
)
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Go into folders within folders.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there already.")
@click.option("--resume", is_flag=True, help="Skip photos whose output is there already.")
@click.option("--preview", is_flag=True, help="Also write OUT.preview.png: before and after, side by side.")
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG, WebP, AVIF and HEIC.")
@click.option(
    "--max-pixels", type=Pixels(), default=DEFAULT_MAX_PIXELS, show_default="200MP", help="Refuse larger photos."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each photo on stdout, and a summary.")
def enhance(photos: tuple[str, ...], output: str, **options: Any) -> None:
    """Relight PHOTOs: files, folders, quoted patterns, or - for stdin.

    The same formats come out, with EXIF and colour profile. Exit code 1: some photos failed, 2: all of them did, or
    nothing could be begun, 130: stopped by Ctrl-C.
    """
    _check(output, options)
    jobs, failures = plan(photos, output, options["recursive"])
    if not jobs and not failures:
        raise UserError(f"{', '.join(photos)}: no photos there ({', '.join(sorted(PHOTO_SUFFIXES))}); name some")
    report = _Report(output, options["as_json"])
    for failure in failures:
        report.add(Result(Job(failure.source, PIPE), FAILED, failure.reason))
    try:
        if jobs:
            _relight(jobs, report, options)
    except KeyboardInterrupt:
        report.end()
        click.echo("Stopped. What is done is done; --resume goes on with the rest.", err=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)  # the photo that is being computed may take minutes, and nobody wants it any more
    report.end()
    if report.failed:
        sys.exit(1 if report.done else 2)


def _check(output: str, options: dict[str, Any]) -> None:
    """Options that exclude each other."""
    if options["weights"] and options["model"]:
        raise UserError("--weights is --model by an older name; give one of them")
    if options["resume"] and options["overwrite"]:
        raise UserError("--resume leaves what is there and --overwrite replaces it; give one of them")
    if output == str(PIPE) and (options["preview"] or options["as_json"]):
        raise UserError("-o - gives stdout to the photo; name a file with -o for --preview or --json")
    if output == str(PIPE) and sys.stdout.isatty():
        raise UserError("-o - writes a photo to stdout, which is a terminal here; send it on with > or |")


def _relight(jobs: list[Job], report: _Report, options: dict[str, Any]) -> None:
    if options["resume"] and all(os.path.lexists(job.target) for job in jobs):
        for job in jobs:
            report.add(Result(job, SKIPPED))
        return
    from cliplit.enhancer import CHAMPION, SHIPPED, Enhancer, weights_file  # torch: --help must not wait for it

    source = options["model"] or options["weights"] or CHAMPION
    path = weights_file(source, network=options["network"])
    if path == SHIPPED and source == CHAMPION and options["network"] is None:
        click.echo("No champion reigns here: the model that comes with cliplit relights.", err=True)
    enhancer = Enhancer.load(path, options["device"], network=options["network"], denoise=options["denoise"])
    wanted = ("strength", "overwrite", "resume", "preview", "max_pixels", "quality")
    settings = Settings(**{name: options[name] for name in wanted})
    with closing(relight_all(enhancer, jobs, settings, options["jobs"])) as results:
        for result in tqdm(results, total=len(jobs), desc="relighting", unit="photo", disable=not sys.stderr.isatty()):
            report.add(result)


class _Report:
    """What is said about the photos: JSON as they come or one sentence, and at the end a table of failures."""

    def __init__(self, output: str, as_json: bool) -> None:
        self.output = output
        self.as_json = as_json
        self.count = {RELIT: 0, SKIPPED: 0, FAILED: 0}
        self.failures: list[tuple[str, str]] = []
        self.began = time.perf_counter()

    @property
    def failed(self) -> int:
        """How many photos failed."""
        return self.count[FAILED]

    @property
    def done(self) -> int:
        """How many photos are relit, now or before."""
        return self.count[RELIT] + self.count[SKIPPED]

    def add(self, result: Result) -> None:
        """Count ``result``, and say it if JSON is wanted."""
        self.count[result.status] += 1
        if result.reason is not None:
            self.failures.append((printable(result.job.source), printable(result.reason)))
        if self.as_json:
            width, height = result.size or (None, None)
            self._say(
                {
                    "photo": str(result.job.source),
                    "output": None if result.status == FAILED else str(result.job.target),
                    "status": result.status,
                    "reason": result.reason,
                    "width": width,
                    "height": height,
                    "seconds": round(result.seconds, 3),
                }
            )

    def end(self) -> None:
        """The summary, and the table of failures on stderr."""
        if self.as_json:
            self._say({"summary": {**self.count, "seconds": round(time.perf_counter() - self.began, 3)}})
        else:
            parts = [f"{_photos(self.count[RELIT])} relit into {printable(self.output)}"] if self.count[RELIT] else []
            parts += [f"{_photos(self.count[SKIPPED])} done before"] if self.count[SKIPPED] else []
            if parts:
                click.echo(", ".join(parts), err=self.output == str(PIPE))
        if self.failures:
            click.echo(f"{self.failed} not relit:", err=True)
            for line in table(self.failures):
                click.echo(line, err=True)

    @staticmethod
    def _say(value: dict[str, Any]) -> None:
        click.echo(json.dumps(value))  # ASCII: names that are no Unicode text are kept as escapes


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of two columns; a first cell of over 60 characters is not waited for."""
    rows = list(rows)
    width = min(60, max(len(name) for name, _ in rows))
    return [f"  {name:<{width}}  {reason}" for name, reason in rows]


def printable(text: object) -> str:
    """``text`` on one line that any terminal takes: line breaks, control characters and broken Unicode as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def _photos(count: int) -> str:
    return f"{count} photo{'' if count == 1 else 's'}"
