"""``cliplit models``: which model serves, and how it came there."""

from __future__ import annotations

import time
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from cliplit.commands.distil import distil
from cliplit.commands.export import export
from cliplit.commands.printing import echo_json, json_option, table
from cliplit.commands.versions import compare, lineage, upload
from cliplit.config import ModelConfig, load_params


@click.group()
def models() -> None:
    """List, register, promote and roll back models; train the lighting prior."""


models.add_command(distil)
models.add_command(export)
models.add_command(compare)
models.add_command(lineage)
models.add_command(upload)


@models.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """All registered versions, newest first."""
    from cliplit.lineage import registry

    found = registry.list_versions(Path())
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo("No model is registered yet; `dvc repro` and `cliplit models register` make one.")
        return
    metric = load_params().promotion.metric
    rows = [("version", "serves as", metric, "model", "photos", "registered")]
    for version in found:
        value = version.metrics.get(metric)
        rows.append(
            (
                str(version.number),
                ", ".join(version.aliases) + (" (rolled back)" if version.rolled_back else ""),
                "" if value is None else f"{value:.4f}",
                version.md5[:8],
                (version.dataset_md5 or "")[:8],
                time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created)),
            )
        )
    click.echo(table(rows))


@models.command()
def register() -> None:
    """Register the chosen model as challenger; twice makes one version."""
    from cliplit.evaluation.pictures import before_and_after
    from cliplit.lineage import registry

    version = registry.register_challenger(Path(), before_and_after)
    click.echo(f"Version {version.number} ({version.md5[:8]}) is the challenger.")


@models.command()
@click.option(
    "--without-champion",
    is_flag=True,
    help="Compare with the photos as they were taken, if the champion's bytes are lost; otherwise it changes nothing.",
)
@json_option
def promote(without_champion: bool, as_json: bool) -> None:
    """Make the challenger champion if it passes every gate; the limits stand in params.yaml under promotion."""
    from cliplit.lineage import registry
    from cliplit.promotion import gates

    load_params()  # a folder that is no project is named as such before its registry is missed
    result = registry.promote(Path(), partial(gates.judge, Path(), without_champion=without_champion))
    if as_json:
        echo_json(result)
        return
    for verdict in result.verdicts:
        click.echo(f"{'passed' if verdict.passed else 'FAILED'}  {verdict.gate}: {verdict.reason}")
    if result.promoted:
        click.echo(f"Version {result.version.number} is the champion now: {result.reason}.")
    else:
        click.echo(f"Nothing changed: {result.reason}.")


@models.command()
@json_option
def rollback(as_json: bool) -> None:
    """Put the previous champion back; once more undoes it."""
    from cliplit.lineage import registry

    done = registry.rollback(Path())
    if as_json:
        echo_json(done)
        return
    click.echo(f"Version {done.version.number} ({done.version.md5[:8]}) is the champion again ({done.seconds:.2f} s).")


@models.command("pretrain-lumiclip")
@click.option("--photos", required=True, type=click.Path(path_type=Path), help="Folder with backlit/ and well_lit/.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("lumiclip"), show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=None, help="Training steps (default: the recipe's).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def pretrain_lumiclip(photos: Path, out: Path, steps: int | None, seed: int) -> None:
    """Train the embedded lighting prior anew; every seventh photo of a folder is held out to measure it.

    To train under it, name its file in params.yaml: guidance.prompt_model and guidance.identity_model.
    """
    pretrain = import_module("cliplit.guidance.lumiclip.pretrain").pretrain
    _echo_figures(pretrain(photos, out, steps, seed))
    click.echo(f"The weights are in {out}.")


@models.command("check-lumiclip")
@click.option("--photos", required=True, type=click.Path(path_type=Path), help="Folder with backlit/ and well_lit/.")
@click.option("--weights", type=click.Path(path_type=Path), default=None, help="Other weights than the embedded ones.")
def check_lumiclip(photos: Path, weights: Path | None) -> None:
    """Print how well the lighting prior tells kinds of light apart, on every seventh photo of each folder."""
    measure = import_module("cliplit.guidance.lumiclip.zero_shot").measure
    _echo_figures(measure(photos, ModelConfig("lumiclip", "embedded" if weights is None else str(weights))))


def _echo_figures(figures: dict[str, float]) -> None:
    click.echo(table([["figure", "value"], *([name, f"{value:.3f}"] for name, value in figures.items())]))
