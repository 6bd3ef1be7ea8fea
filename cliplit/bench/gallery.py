"""The bench as pictures: contact sheets of every set and of the worst photos, and a page that shows them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cliplit.bench.methods import BOUND, IDENTITY, Method
from cliplit.bench.quality import Bench, faults, judged_method, worst
from cliplit.bench.sets import Sample
from cliplit.files import write_text
from cliplit.photos.codecs import save_jpeg

WIDTH, HEIGHT, LABEL, GAP = 220, 165, 15, 4
ROWS = 8  # a sheet, so that no picture becomes too large to look at
QUALITY = 85
WORST = 20


def write(bench: Bench, folder: Path, photos: int) -> None:
    """Write gallery.html and gallery/*.jpg: the ``photos`` worst of each set with all methods, the 20 worst of all."""
    order = [sample.name for sample in bench.samples]
    by_name = dict(zip(order, bench.samples, strict=True))
    sections: list[tuple[str, list[str]]] = []
    ranked = worst(bench, len(order))
    judged = judged_method(bench)
    shortest = [method for method in bench.methods if method.name == judged != IDENTITY]
    names = [f"{row['set']}/{row['photo']}" for row, _ in ranked]
    title = f"The {min(WORST, len(names))} worst of {judged}, over all sets"
    sections.append((title, _sheets(bench, [by_name[name] for name in names[:WORST]], shortest, folder, "worst")))
    for name in dict.fromkeys(bench.rows["set"]):
        chosen = [by_name[each] for each in names if each.startswith(f"{name}/")][:photos]
        others = [method for method in bench.methods if method.name != IDENTITY and method.kind != BOUND]
        bounds = [method for method in bench.methods if method.kind == BOUND and chosen and chosen[0].reference]
        sections.append(
            (f"{name}: the {len(chosen)} worst", _sheets(bench, chosen, others + bounds, folder, f"set-{name}"))
        )
    write_text(folder / "gallery.html", _page(sections, judged))


def _sheets(bench: Bench, samples: Sequence[Sample], compared: list[Method], folder: Path, name: str) -> list[str]:
    """Write the rows of ``samples``, eight to a sheet; returns the paths below ``folder``."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    paths = []
    for start in range(0, len(samples), ROWS):
        rows = [_row(bench, sample, compared) for sample in samples[start : start + ROWS]]
        width = max(row.width for row in rows)
        sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
        top = 0
        for row in rows:
            sheet.paste(row, (0, top))
            top += row.height
        path = f"gallery/{plain}-{start // ROWS + 1}.jpg"
        save_jpeg(folder / path, np.array(sheet), quality=QUALITY)
        paths.append(path)
    return paths


def _row(bench: Bench, sample: Sample, compared: list[Method]) -> Image.Image:
    """One photo: as it is, under each method, and its reference; its name and the first method's faults above."""
    pixels, reference = sample.load()
    cells = [("input", pixels)]
    measured = bench.rows[(bench.rows["set"] == sample.set) & (bench.rows["photo"] == sample.photo)]
    for method in compared:
        row = measured[measured["method"] == method.name]
        if len(row):
            cells.append((_caption(row.iloc[0]), method.relight(sample, pixels, reference)))
    if reference is not None:
        cells.append(("reference", reference))
    picture = Image.new("RGB", (len(cells) * (WIDTH + GAP), HEIGHT + 2 * LABEL + GAP), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(11)
    judged = measured[measured["method"] == judged_method(bench)]
    found = faults(judged.iloc[0]) if len(judged) else {}
    draw.text((2, 0), f"{sample.name}   {', '.join(f'{k} {v:.1f}' for k, v in found.items())}", "black", font)
    for index, (caption, image) in enumerate(cells):
        thumbnail = Image.fromarray(image)
        thumbnail.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        picture.paste(thumbnail, (index * (WIDTH + GAP), 2 * LABEL))
        draw.text((index * (WIDTH + GAP) + 2, LABEL), caption, "black", font)
    return picture


def _caption(row: pd.Series) -> str:
    """The method's name and the figure that says most about this photo."""
    for key, text in (("psnr", "{:.1f} dB"), ("harm", "{:.1f} dB of itself"), ("niqe", "NIQE {:.1f}")):
        if pd.notna(row[key]):
            return f"{str(row['method'])[:20]}  {text.format(row[key])}"
    return str(row["method"])[:30]


def _page(sections: list[tuple[str, list[str]]], judged: str) -> str:
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>cliplit bench</title>"]
    parts.append("<style>body{font:15px sans-serif;margin:2rem;background:#fff;color:#222}img{max-width:100%}</style>")
    parts.append(
        f"<h1>cliplit bench quality</h1><p>Above each row, what is wrong with {html.escape(judged)}'s result; "
    )
    parts.append("0 is at the limit, 1 is clearly seen. The numbers stand in table.md and per_photo.csv.</p>")
    for title, paths in sections:
        parts.append(f"<h2>{html.escape(title)}</h2>")
        parts += [f"<p><img loading='lazy' src='{path}' alt='{html.escape(title)}'></p>" for path in paths]
    return "\n".join(parts) + "\n"
