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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cliplit.config import GuidanceConfig, Params, PhaseConfig, load_params
from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.evaluation import evaluate
from cliplit.evaluation.select import network_file
from cliplit.training import enhancer, prompts

UNET = "network unet"
UNET_SCALE = 0.1  # of the steps: one costs seconds on a CPU
UNET_CROP = 96  # px
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


@dataclass(frozen=True)
class Variant:
    """A name, and the parameters that it trains under."""

    name: str
    params: Params


class Silent:
    """A tracker for runs that nobody follows."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Nothing."""


def variants(base: Params, scale: float) -> list[Variant]:
    """The default first, then one choice changed at a time; all steps times ``scale``."""
    whole = base.guidance
    total = whole.prompt_weight + whole.bad_light_weight + whole.region_weight

    def guided(**changes: Any) -> Params:
        return replace(base, guidance=replace(whole, **changes))

    # What a variant leaves out gives its weight to what is left, else the identity term would hold it back more.
    kinds = ("prompts", "latent", "residual", "residual_shifted")
    chosen = {
        "ours": base,
        **{f"kind {kind}": guided(kind=kind, prompt_weight=total) for kind in kinds},
        "one round": _in_one_round(base),
        "identity x0.2": guided(identity_weight=whole.identity_weight * 0.2),
        "identity x5": guided(identity_weight=whole.identity_weight * 5),
        "no regions": guided(region_weight=0.0, bad_light_weight=whole.bad_light_weight + whole.region_weight),
        "no bad light": guided(bad_light_weight=0.0, prompt_weight=whole.prompt_weight + whole.bad_light_weight),
        "local dense": guided(local="dense"),
    }
    scaled = [Variant(name, _scaled(params, scale)) for name, params in chosen.items()]
    small = replace(base.training, crop=min(UNET_CROP, base.training.crop), crops_per_photo=1)
    unet = replace(base, network=replace(base.network, kind="unet"), training=small)
    grid = replace(base, training=small)
    return [
        *scaled,
        Variant("network grid, as short as unet", _scaled(grid, scale * UNET_SCALE)),
        Variant(UNET, _scaled(unet, scale * UNET_SCALE)),
    ]


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


def _in_one_round(params: Params) -> Params:
    """No refinement, and as many steps of both kinds as with it."""

    def total(first: PhaseConfig, later: list[PhaseConfig]) -> PhaseConfig:
        return replace(first, steps=first.steps + sum(phase.steps for phase in later))

    return replace(
        params,
        prompts=total(params.prompts, [each.prompts for each in params.rounds.values()]),
        enhancer=total(params.enhancer, [each.enhancer for each in params.rounds.values()]),
        rounds={},
    )


def _scaled(params: Params, scale: float) -> Params:
    def phase(config: PhaseConfig) -> PhaseConfig:
        return replace(config, steps=max(1, round(config.steps * scale)))

    rounds = {
        name: replace(each, prompts=phase(each.prompts), enhancer=phase(each.enhancer))
        for name, each in params.rounds.items()
    }
    warm, first, network = phase(params.warm_start), phase(params.prompts), phase(params.enhancer)
    return replace(params, warm_start=warm, prompts=first, enhancer=network, rounds=rounds)


def _steps(params: Params, round_name: str) -> int:
    """Steps of the network in one round."""
    if round_name == "0":
        return params.warm_start.steps + params.enhancer.steps
    return params.rounds[round_name].enhancer.steps
