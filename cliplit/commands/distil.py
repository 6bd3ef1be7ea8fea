"""``cliplit models distil``: the paper's network, taught by the fast one."""

from __future__ import annotations

from pathlib import Path

import click

from cliplit.config import load_params


@click.command()
@click.option("--model", default="champion", show_default=True, help="The teacher: champion, NAME@ALIAS or a file.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The weights file to write.")
@click.option("--steps", type=click.IntRange(min=1), default=800, show_default=True, help="Steps of two photos.")
def distil(model: str, output: Path, steps: int) -> None:
    """Train a unet on the curated photos to relight as another model does.

    It computes at full resolution, a hundred times slower than the grid network. Photos and seed are those of
    params.yaml and artifacts/dataset; run again after a kill, it goes on.
    """
    from cliplit.enhancer import weights_file
    from cliplit.lineage.tracking import track_stage
    from cliplit.training.distil import distil as teach

    params = load_params()
    with track_stage("distil", {"steps": steps, "seed": params.seed}) as tracker:
        curve = teach(params, Path(), weights_file(model), output, steps, tracker)
    last = {name: value for name, value in curve[-1].items() if name.startswith("val_")}
    click.echo(", ".join(f"{name} {value:.4f}" for name, value in last.items()))
    click.echo(f"{output}: written; `cliplit enhance --model {output}` uses it.")
