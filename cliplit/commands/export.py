"""``cliplit models export``: a model as a file for other programs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cliplit.errors import UserError

_SUFFIX = {"onnx": ".onnx", "torch-export": ".pt2", "lut": ".cube"}


@click.command()
@click.option("--format", "kind", type=click.Choice(list(_SUFFIX)), required=True, help="What kind of file.")
@click.option("--model", default="champion", show_default=True, help="champion, NAME@ALIAS or a weights file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file, .onnx, .pt2 or .cube.")
@click.option("--photo", type=click.Path(path_type=Path), help="Whose light a lut holds.")
@click.option("--strength", type=click.FloatRange(0, 2), default=1.0, show_default=True, help="Of a lut.")
@click.option(
    "--graph",
    type=click.Choice(["photo", "map"]),
    default="photo",
    show_default=True,
    help="A whole photo in and out, or the network by itself: an image in, its illumination map out.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def export(
    kind: str, model: str, output: Path, photo: Path | None, strength: float, graph: str, overwrite: bool
) -> None:
    """Write a model as ONNX, as PyTorch's saved program, or one photo's light as a table of colours.

    ONNX files and saved programs take photos of any size from 32 pixels, and are compared with PyTorch before they are
    kept. A lut is made for one photo, with --photo.

    \b
    cliplit models export --format onnx -o cliplit.onnx
    cliplit models export --format lut --photo dark.jpg -o dark.cube
    """
    if output.suffix.lower() != _SUFFIX[kind]:
        raise UserError(f"{output}: a file of the format {kind} ends in {_SUFFIX[kind]}; rename it with -o")
    if os.path.lexists(output) and not overwrite:
        raise UserError(f"{output}: exists already; choose another name or pass --overwrite")
    if (photo is None) == (kind == "lut"):
        raise UserError("--photo: a lut is made for one photo, and for nothing else; pass --photo with --format lut")
    if photo is not None:
        _write_lut(model, photo, output, strength)
    else:
        _write_graph(model, kind, graph, output)


def _write_graph(model: str, kind: str, graph: str, output: Path) -> None:
    from cliplit.enhancer import Enhancer, weights_file
    from cliplit.export import graphs

    weights = weights_file(model)
    network = Enhancer.load(weights, "cpu").network
    module = graphs.WholePhoto(network) if graph == "photo" else graphs.MapOnly(network)
    written = (graphs.write_onnx if kind == "onnx" else graphs.write_program)(module, output, weights)
    click.echo(
        f"{output}: {written.bytes / 1e6:.1f} MB, differs from PyTorch by at most {written.difference:.1e} "
        f"at {len(graphs.SIZES)} sizes."
    )


def _write_lut(model: str, photo: Path, output: Path, strength: float) -> None:
    from cliplit.enhancer import Enhancer
    from cliplit.export import lut
    from cliplit.networks.grid import GridNetwork
    from cliplit.photos.codecs import eight_bit, read_photo, to_srgb

    enhancer = Enhancer.load(model, "cpu")
    if not isinstance(enhancer.network, GridNetwork):
        raise UserError(f"{model}: a lut needs the grid network; pass --model FILE with the weights of one")
    pixels = eight_bit(to_srgb(read_photo(photo))).pixels
    cube = lut.cube_of(enhancer, pixels, strength)
    lut.write_cube(cube, output, f"cliplit, light of {photo.name}")
    psnr = lut.psnr(enhancer, pixels, cube, strength)
    click.echo(
        f"{output}: {lut.POINTS} points a side; on {photo.name} it is {psnr:.1f} dB from the whole model, "
        "because it cannot treat places differently."
    )
