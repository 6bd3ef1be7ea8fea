"""cliplit stage: what dvc.yaml calls."""

from __future__ import annotations

import logging
import sys

import click


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--round", "round_name", metavar="K", help="Round of the stages prompts and enhancer: 0, or a later one.")
def stage(name: str, round_name: str | None) -> None:
    """Run the stage NAME in the current folder: curate, prompts, enhancer, select, evaluate or report.

    A run that was cut off goes on from its last checkpoint.
    """
    from cliplit.stages import run_stage

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        run_stage(name, round_name)
    except KeyboardInterrupt:
        click.echo(
            f"cliplit: stage {name}: interrupted; run it again and it goes on from its last checkpoint", err=True
        )
        sys.exit(130)
