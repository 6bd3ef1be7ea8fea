"""``cliplit enhance``: relight photos with the champion, or with any weights file."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from cliplit.enhancer import CHAMPION, SHIPPED, Enhancer, weights_file
from cliplit.errors import PhotoError, UserError
from cliplit.photos.codecs import PHOTO_SUFFIXES, list_photos, read_photo, write_photo


@dataclass(frozen=True)
class Job:
    """One photo, and where it goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """One photo that was not relit, and why in one sentence."""

    source: Path
    reason: str


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the relit photos.")
@click.option("--weights", type=click.Path(path_type=Path), help="A weights file instead of the champion.")
@click.option("--strength", type=click.FloatRange(0, 2), default=1.0, show_default=True, help="0 changes nothing.")
@click.option("--overwrite", is_flag=True, help="Replace photos that are in the output folder already.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def enhance(
    photos: tuple[Path, ...], output: Path, weights: Path | None, strength: float, overwrite: bool, device: str
) -> None:
    """Relight PHOTOs: files, or folders with everything below them.

    The same formats come out, with EXIF and colour profile. Exit code 1: some photos failed, 2: all of them did.
    """
    jobs, failures = plan(photos, output)
    if not jobs and not failures:
        raise UserError(
            f"{', '.join(map(str, photos))}: no photos there ({', '.join(sorted(PHOTO_SUFFIXES))}); name some"
        )
    done = 0
    if jobs:
        path = weights_file(CHAMPION if weights is None else weights)
        if path == SHIPPED:
            click.echo("No champion reigns here: the model that comes with cliplit relights.", err=True)
        enhancer = Enhancer.load(path, device)
        for job in tqdm(jobs, desc="relighting", unit="photo", disable=not sys.stderr.isatty()):
            failure = _relight(enhancer, job, strength, overwrite)
            failures += [failure] if failure else []
            done += failure is None
    _summarise(done, failures, output)


def plan(photos: tuple[Path, ...], output: Path) -> tuple[list[Job], list[Failure]]:
    """What to relight into ``output``, folders keeping their structure, and what cannot be relit.

    Raises UserError when a photo would be written onto itself or onto another input.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; name a folder with -o")
    jobs: list[Job] = []
    failures: list[Failure] = []
    taken: dict[str, Path] = {}
    for source, name in (pair for photo in photos for pair in _named(photo, output)):
        target = output / name
        if not source.exists():
            failures.append(Failure(source, "there is no such file"))
        elif taken.setdefault(_key(target), source) != source:
            failures.append(Failure(source, f"{taken[_key(target)]} goes to the same output; relight it separately"))
        elif Job(source, target) not in jobs[-1:]:
            jobs.append(Job(source, target))
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target.resolve() in sources:
            raise UserError(f"{job.source}: the output would replace the photo itself; choose another folder with -o")
    return jobs, failures


def _named(photo: Path, output: Path) -> list[tuple[Path, Path]]:
    """Photos at or below ``photo``, each with its name below the output folder; earlier outputs are no input."""
    if not photo.is_dir():
        return [(photo, Path(photo.name))]
    inside = output.resolve()
    found = [path for path in list_photos(photo) if photo.resolve() == inside or inside not in path.resolve().parents]
    return [(path, path.relative_to(photo)) for path in found]


def _key(target: Path) -> str:
    """Equal for targets that a case-insensitive file system takes for one."""
    return os.path.normpath(target).casefold()


def _relight(enhancer: Enhancer, job: Job, strength: float, overwrite: bool) -> Failure | None:
    """Relight one photo; whatever is wrong with it becomes a Failure, a full disk ends the run."""
    if not overwrite and job.target.exists():
        return Failure(job.source, f"{job.target} exists; pass --overwrite to replace it")
    try:
        photo = read_photo(job.source)
        write_photo(enhancer.enhance_photo(photo, strength), job.target, overwrite=overwrite)
    except PhotoError as error:
        return Failure(job.source, error.reason if error.path == str(job.source) else str(error))
    except MemoryError:
        return Failure(job.source, "does not fit into memory; make it smaller first")
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        return Failure(job.source, "does not fit into memory; make it smaller first, or pass --device cpu")
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return Failure(job.source, f"{error.strerror or error}: {error.filename or job.target}")
    return None


def _summarise(done: int, failures: list[Failure], output: Path) -> None:
    """Say what was done and what was not, and exit with 1 when some photos failed, 2 when all did."""
    if done:
        click.echo(f"{done} photo{'' if done == 1 else 's'} relit into {output}")
    if failures:
        width = min(60, max(len(str(failure.source)) for failure in failures))
        click.echo(f"{len(failures)} not relit:", err=True)
        for failure in failures:
            click.echo(f"  {failure.source!s:<{width}}  {failure.reason}", err=True)
        sys.exit(1 if done else 2)
