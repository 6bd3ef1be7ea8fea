"""``cliplit photos import``, ``ingest`` and ``demo``."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

_CHAMPION = Path("data/champion")  # the stage start reads it, so DVC wants it to be there


@click.group()
def photos() -> None:
    """Import your photos, take in those of the inbox, or render demo photos."""
    warnings.filterwarnings("ignore", module="PIL")  # what matters about a photo is said in one sentence instead


@photos.command("import")
@click.option("--backlit", required=True, type=click.Path(path_type=Path), help="Folder of photos to relight.")
@click.option("--well-lit", required=True, type=click.Path(path_type=Path), help="Folder of photos in good light.")
@click.option("--pairs", type=click.Path(path_type=Path), help="Folder with backlit/ and reference/, equal names.")
@click.option("--link", is_flag=True, help="Hard-link instead of copying, where the disk allows it.")
def import_(backlit: Path, well_lit: Path, pairs: Path | None, link: bool) -> None:
    """Check photos and bring them into data/photos; files that are no photos are named and set aside."""
    from cliplit.photos.importing import import_photos

    summary = import_photos(backlit, well_lit, pairs, link=link)
    _CHAMPION.mkdir(parents=True, exist_ok=True)
    for _, path, reason in summary.set_aside:
        click.echo(f"set aside: {path}: {reason}", err=True)
    click.echo(summary.sentence())


@photos.command()
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Other seed, other photos.")
@click.option("--count", default=60, show_default=True, type=click.IntRange(min=8), help="Photos of each role.")
@click.option("--pairs", default=12, show_default=True, type=click.IntRange(min=0), help="Pairs with a reference.")
def demo(seed: int, count: int, pairs: int) -> None:
    """Render scenes that do not exist into data/photos, so that everything can be tried without photos."""
    from cliplit.photos.demo import render_demo

    click.echo(render_demo(Path(), seed=seed, count=count, pairs=pairs))
    _CHAMPION.mkdir(parents=True, exist_ok=True)


@photos.command()
def ingest() -> None:
    """Take in what has arrived in the inbox (params.yaml: inbox.path); what needs a person goes to data/review."""
    from cliplit.inbox.ingest import ingest as take_in

    project = Path()
    result = take_in(project)
    for one in result.batch.outcomes:
        click.echo(f"{one.outcome}: {one.source}: {one.why}")
    for note in result.notes:
        click.echo(note)
    click.echo(f"Ingest {result.batch.number} {result.sentence()}.")
    if result.batch.added:
        from cliplit.inbox import drift  # torch takes seconds to import

        for warning in drift.warnings_about(project, result.batch):
            click.secho(f"warning: {warning}", fg="yellow", err=True)
