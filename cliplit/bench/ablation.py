"""``cliplit bench ablation``: each choice of the method varied alone, over seeds, on a project that is curated already.

Every variant trains in a fresh project folder that links the dataset, with the same seeds, and every step count
multiplied by one scale. Each round's network becomes a row of the CSV as soon as it is measured, by the criterion that
selects rounds (held-out photos, no reference) and, where the project has pairs, by PSNR and SSIM on them. The latter
choose nothing: they are there to see whether the criterion would have chosen well.
"""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch

from cliplit.bench.variants import Variant, variants
from cliplit.config import GuidanceConfig, Params, load_params
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.evaluation import evaluate
from cliplit.evaluation.select import network_file
from cliplit.training import enhancer, prompts

COLUMNS = (
    *(
        "variant",
        "kind",
        "local",
        "rounds",
        "identity_weight",
        "network",
        "seed",
        "steps",
        "scale",
        "settings",
        "seconds",
    ),
    *("score", "score_identity", "harm_db", "clipped_ratio", "psnr", "ssim"),
)
Row = dict[str, str | int | float]


class Silent:
    """A tracker for runs that nobody follows."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Nothing."""


def run(
    project: Path, out: Path, seeds: tuple[int, ...], scale: float, only: str | None, threads: int | None
) -> list[Row]:
    """Train and measure what ``out`` does not hold yet, appending to it; returns all its rows.

    ``only`` is a pattern of variants' names (``*`` for anything). Raises UserError when the project is not curated,
    and goes on with the next variant when one diverges.
    """
    base = load_params(project / "params.yaml")
    if not (project / "artifacts" / "dataset" / "manifest.csv").is_file():
        raise UserError(f"{project}: the photos are not curated yet; run `cliplit stage curate` there first")
    chosen = [each for each in variants(base, scale) if only is None or fnmatch.fnmatch(each.name, only)]
    if not chosen:
        names = ", ".join(each.name for each in variants(base, scale))
        raise UserError(f"--only {only} matches no variant; they are {names}")
    with _threads(threads):
        for seed in seeds:  # seeds outside, so that a run cut short has every variant as often
            for variant in chosen:
                _train(variant, base.guidance, seed, scale, project, out)
    return read_rows(out)


def read_rows(out: Path) -> list[Row]:
    """The rows of the CSV, numbers as numbers; none where there is no file."""
    if not out.is_file():
        return []
    with out.open(encoding="utf-8", newline="") as file:
        return [{name: _number(value) for name, value in line.items()} for line in csv.DictReader(file)]


def _train(variant: Variant, judged_by: GuidanceConfig, seed: int, scale: float, project: Path, out: Path) -> None:
    """One variant with one seed, round by round, unless all its rows are there."""
    params, settings = replace(variant.params, seed=seed), _settings(variant, project)
    found = [row for row in read_rows(out) if (row["settings"], row["seed"]) == (settings, seed)]
    done = {row["rounds"] for row in found if row["variant"] == variant.name}
    if done >= set(range(len(params.round_names))):
        return
    print(f"{variant.name}, seed {seed}", file=sys.stderr, flush=True)
    steps, seconds = 0, 0.0
    with _folder(project) as folder:
        for number, name in enumerate(params.round_names):
            started = time.monotonic()
            try:
                prompts.run(params, name, folder, Silent())
                enhancer.run(params, name, folder, Silent())
            except UserError as error:  # it diverged
                print(f"{variant.name}, seed {seed}: {error}", file=sys.stderr, flush=True)
                return
            steps += _steps(params, name)
            seconds += time.monotonic() - started
            if number in done:
                continue
            row: Row = {
                "variant": variant.name,
                "kind": params.guidance.kind,
                "local": params.guidance.local,
                "rounds": number,
                "identity_weight": round(params.guidance.identity_weight, 9),
                "network": params.network.kind,
                "seed": seed,
                "steps": steps,
                "scale": scale,
                "settings": settings,
                "seconds": round(seconds, 1),
            }
            _append(out, row | _measured(replace(params, guidance=judged_by), folder, name))


def _measured(params: Params, folder: Path, round_name: str) -> Row:
    """What evaluation says of a round's network; every variant is judged by the same guidance."""
    network = Enhancer.load(network_file(folder, round_name), params.device)
    flat = evaluate.figures(evaluate.measure(params, folder, network))
    before = flat["clipped_high_before"]
    return {
        "score": flat["score"],
        "score_identity": flat["score_identity"],
        "harm_db": flat["harm_psnr_db"],
        "clipped_ratio": round(flat["clipped_high_after"] / before, 4) if before else "",
        "psnr": flat.get("pairs_psnr_ours", ""),
        "ssim": flat.get("pairs_ssim_ours", ""),
    }


@contextmanager
def _folder(project: Path) -> Iterator[Path]:
    """A fresh project folder that reads ``project``'s dataset and pairs, and shares its cached features."""
    folder = Path(tempfile.mkdtemp(prefix="cliplit-ablation-"))
    try:
        for name in ("artifacts/dataset", "data/photos/pairs", "work/features"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name == "work/features":
                (project / name).mkdir(parents=True, exist_ok=True)
            if (project / name).is_dir():
                (folder / name).symlink_to((project / name).resolve(), target_is_directory=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _append(out: Path, row: Row) -> None:
    """One line at the end of the file, written at once, so that a kill costs at most the round in progress."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = not out.is_file()
    with out.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _settings(variant: Variant, project: Path) -> str:
    """A hash of what the variant trains under apart from the seed, and of the photos: other rows are other models."""
    manifest = (project / "artifacts" / "dataset" / "manifest.csv").read_bytes()
    text = json.dumps({**asdict(variant.params), "seed": None}, sort_keys=True)
    return "h" + hashlib.sha256(text.encode() + manifest).hexdigest()[:8]  # with a letter, it is no number


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _steps(params: Params, round_name: str) -> int:
    """Steps of the network in one round."""
    if round_name == "0":
        return params.warm_start.steps + params.enhancer.steps
    return params.rounds[round_name].enhancer.steps
