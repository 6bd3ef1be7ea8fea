"""``cliplit bench``: how good a model's pictures are, beside baselines, upper bounds and others' results."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cliplit.commands.video import bench_video
from cliplit.errors import UserError


class NamedPath(click.ParamType):
    """NAME=PATH on the command line."""

    name = "NAME=PATH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """Name and path; fails where either is missing or the name would not serve as one."""
        if isinstance(value, tuple):
            return value
        name, equals, path = str(value).partition("=")
        if not (equals and name.strip() and path) or "/" in name or name.startswith("."):
            self.fail(f"'{value}' is not NAME=PATH, as in unet=model.safetensors", param, ctx)
        return name.strip(), Path(path)


@click.group()
def bench() -> None:
    """Measure models beside baselines, upper bounds and peers."""


bench.add_command(bench_video)


@bench.command()
@click.option("--pairs", type=click.Path(path_type=Path), help="Folder with backlit/ and reference/, same file names.")
@click.option("--unpaired", type=NamedPath(), multiple=True, help="A folder of dark photos; repeatable.")
@click.option("--well-lit", type=click.Path(path_type=Path), help="Folder of photos that are fine: harm, and NIQE.")
@click.option("--mild", is_flag=True, help="Also measure the well-lit photos one stop under-exposed.")
@click.option("--model", "models", type=NamedPath(), multiple=True, help="A weights file; else champion or cliplit's.")
@click.option("--outputs", type=NamedPath(), multiple=True, help="A folder of a peer's results, same file names.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for tables and gallery.")
@click.option("--gallery", type=click.IntRange(min=1), default=8, show_default=True, help="Photos shown of each set.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def quality(
    pairs: Path | None,
    unpaired: tuple[tuple[str, Path], ...],
    well_lit: Path | None,
    mild: bool,
    models: tuple[tuple[str, Path], ...],
    outputs: tuple[tuple[str, Path], ...],
    output: Path,
    gallery: int,
    seed: int,
    device: str,
) -> None:
    """One table of methods and test sets: fidelity, exposure, clipping, hue, noise, harm.

    Writes table.md, per_photo.csv, bench.json and gallery.html. Exit code 1: some photos failed.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; name a folder with -o")
    from cliplit.bench import gallery as pictures
    from cliplit.bench import quality as runner
    from cliplit.bench import tables

    inputs = runner.Inputs(pairs, unpaired, well_lit, models or _champion(), outputs, device, mild)
    result = runner.measure(inputs, quiet=not sys.stderr.isatty())
    text = tables.write(result, output, seed)
    pictures.write(result, output, gallery)
    click.echo(text)
    click.echo(f"{output}: table.md, per_photo.csv, bench.json and gallery.html are written.")
    if result.failures:
        click.echo(f"{len(result.failures)} results are missing; table.md says which.", err=True)
        sys.exit(1)


@bench.command()
@click.option("--project", type=click.Path(path_type=Path), default=Path(), help="A curated project (default: here).")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV: a row a model, appended to.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Numbers, with commas.")
@click.option(
    "--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Of all steps."
)
@click.option("--only", metavar="PATTERN", help="Variants whose name matches, as in 'kind *'.")
@click.option("--threads", type=click.IntRange(min=1), help="Of torch (default: as many as cores).")
@click.option("--table", is_flag=True, help="Train nothing, print the table of what --out holds.")
def ablation(
    project: Path, out: Path, seeds: str, scale: float, only: str | None, threads: int | None, table: bool
) -> None:
    """What each choice of the method is worth: guidance, rounds, identity weight, network, over seeds.

    Rows that --out holds are not trained again, so a run that was cut off goes on.
    """
    try:
        numbers = tuple(int(text) for text in seeds.split(","))
    except ValueError:
        raise UserError(f"--seeds {seeds}: not numbers with commas between them; write 0,1,2") from None
    from cliplit.bench import ablation as runner
    from cliplit.bench import ablation_table

    rows = runner.read_rows(out) if table else runner.run(project, out, numbers, scale, only, threads)
    if not rows:
        raise UserError(f"{out}: no models there yet; leave --table out")
    click.echo(ablation_table.markdown(rows))


@bench.command()
@click.option("--quick", is_flag=True, help="Smaller photos: half a minute, and no targets.")
@click.option("--large", is_flag=True, help="Also 100 megapixels through the paper's network: minutes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def speed(quick: bool, large: bool, as_json: bool) -> None:
    """How fast photos are relit on this machine, in how much memory, and how the two networks compare."""
    from cliplit.bench import speed as runner
    from cliplit.bench import speed_table

    click.echo("Other work on this machine costs frames: let it rest meanwhile.", err=True)
    figures = runner.measure(quick, large, say=lambda part: click.echo(f"  measuring {part}", err=True))
    click.echo(speed_table.as_json(figures) if as_json else speed_table.markdown(figures))


@bench.command()
@click.option("--requests", type=click.IntRange(min=20), default=2000, show_default=True, help="Photos to send.")
@click.option("--clients", type=click.IntRange(min=1), default=2, show_default=True, help="Senders at once.")
@click.option("--url", help="A running `cliplit serve`; else one is started on the model that comes with cliplit.")
@click.option("--megapixels", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Of each photo.")
def load(requests: int, clients: int, url: str | None, megapixels: float) -> None:
    """Requests a second, p50, p99 and the memory of `cliplit serve`, as one JSON object."""
    import json
    from contextlib import nullcontext

    from cliplit.bench import load as runner

    size = (round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5))
    with nullcontext(url) if url else runner.server() as address:
        figures = runner.measure(address, requests, clients, size)
    click.echo(json.dumps(figures, indent=2))


def _champion() -> tuple[tuple[str, Path], ...]:
    """The champion of the current folder, else the model that comes with cliplit, each under that name."""
    from cliplit.enhancer import CHAMPION, SHIPPED, weights_file

    path = weights_file()
    return (("shipped" if path == SHIPPED else CHAMPION, path),)
