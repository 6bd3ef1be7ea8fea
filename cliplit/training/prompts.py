"""Stage prompts: the prompt pair learns backlit against well-lit, and in later rounds where results stand between.

Everything that a prompt sees is a feature of a crop, computed once (training.features), so a step costs text only.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cliplit.config import Params
from cliplit.enhancer import pick_device
from cliplit.guidance.losses import backlit_probability, prompt_cross_entropy, rank_loss
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import VisionLanguageModel, resolve_models
from cliplit.networks import load_network
from cliplit.training.checkpoint import Checkpoints, fingerprint
from cliplit.training.crops import WHOLE, draw_crops, draw_indices
from cliplit.training.dataset import DATASET, Dataset, require
from cliplit.training.features import FeatureStore, View
from cliplit.training.loop import Curves, Phase, Row, descend, reproducible, write_curve, write_metrics

Features = list[Tensor]  # NxD each: backlit, results of earlier networks old to new, well-lit


def run(params: Params, round_name: str, project: Path, tracker: Curves) -> None:
    """Write artifacts/prompts/<round>/prompts.safetensors, its curve and its metrics."""
    device = pick_device(params.device)
    with reproducible(device, params.seed):
        vlm, _ = resolve_models(params.guidance, device)
        dataset = Dataset(project)
        networks = earlier_networks(params, round_name, project)
        prompts = _start(params, round_name, project, vlm)
        store = FeatureStore(project / "work" / "features", dataset, vlm, params.training.crop)
        trained = _features(store, training_views(dataset, params), networks)
        held_out = _features(store, held_out_views(dataset), networks)
        first = round_name == "0"
        phase = Phase(
            key="prompts" if first else f"rounds.{round_name}.prompts",
            config=params.prompts if first else params.rounds[round_name].prompts,
            loss=partial(_loss, prompts=prompts, vlm=vlm, features=trained, params=params, first=first),
        )
        checkpoints = Checkpoints(_folder(params, phase, round_name, project, vlm, networks))
        curve = descend(
            f"prompts, round {round_name}",
            prompts,
            [phase],
            partial(judge, prompts, vlm, held_out),
            checkpoints,
            params.training.checkpoint_steps,
            params.training.weight_decay,
            tracker,
        )
    prompts.save(project / "artifacts" / "prompts" / round_name / "prompts.safetensors")
    write_curve(project / "artifacts" / "plots" / f"prompts_{round_name}.csv", curve)
    write_metrics(project / "artifacts" / "metrics" / f"prompts_{round_name}.json", curve)


def earlier_networks(params: Params, round_name: str, project: Path) -> list[Path]:
    """The networks whose results a round ranks, old to new: none in round 0, one in round 1, then two."""
    if round_name == "0":
        return []
    previous = params.rounds[round_name].previous
    folder = project / "artifacts" / "enhancer" / previous
    newest = require(folder / "network.safetensors", f"enhancer --round {previous}")
    older = folder / "earlier.safetensors"
    return [older, newest] if older.is_file() else [newest]


def training_views(dataset: Dataset, params: Params) -> tuple[list[View], list[View]]:
    """Crops of backlit and of well-lit photos, as tuples: the n-th of both share one augmentation.

    They do not depend on the round, so that later rounds find the features of earlier ones.
    """
    backlit, well_lit = dataset.select("backlit", "train"), dataset.select("well_lit", "train")
    count = max(len(backlit), len(well_lit)) * params.training.crops_per_photo
    crops = draw_crops(params.seed, "tuples", 0, count)
    worse = draw_indices(params.seed, "tuples backlit", 0, count, len(backlit))
    better = draw_indices(params.seed, "tuples well-lit", 0, count, len(well_lit))
    return (
        [(backlit[index], crop) for index, crop in zip(worse, crops, strict=True)],
        [(well_lit[index], crop) for index, crop in zip(better, crops, strict=True)],
    )


def held_out_views(dataset: Dataset) -> tuple[list[View], list[View]]:
    """Every held-out photo as a whole."""
    return (
        [(row, WHOLE) for row in dataset.select("backlit", "val")],
        [(row, WHOLE) for row in dataset.select("well_lit", "val")],
    )


@torch.no_grad()
def judge(prompts: PromptPair, vlm: VisionLanguageModel, features: Features) -> Row:
    """Held-out photos: share judged rightly, mean P(backlit) of each kind, and share of neighbours in right order."""
    pair = prompts.features(vlm)
    ranks = [backlit_probability(value, pair, vlm.logit_scale) for value in features]
    names = ["backlit", *["older", "newer"][4 - len(ranks) :], "well_lit"]
    right = (ranks[0] > 0.5).float().mean() + (ranks[-1] < 0.5).float().mean()
    row = {"val_accuracy": float(right) / 2}
    row |= {f"val_backlit_probability_{name}": float(rank.mean()) for name, rank in zip(names, ranks, strict=True)}
    ladder = [*ranks[:-1], ranks[-1].mean().expand_as(ranks[0])]
    ordered = [(worse > better).float().mean() for worse, better in zip(ladder[:-1], ladder[1:], strict=True)]
    row["val_rank_order"] = float(torch.stack(ordered).mean())
    row["val_margin"] = float(ranks[0].mean() - ranks[-1].mean())
    return row


def _start(params: Params, round_name: str, project: Path, vlm: VisionLanguageModel) -> PromptPair:
    if round_name == "0":
        return PromptPair.start(vlm, params.guidance).to(vlm.device)
    previous = params.rounds[round_name].previous
    path = project / "artifacts" / "prompts" / previous / "prompts.safetensors"
    return PromptPair.load(require(path, f"prompts --round {previous}"), vlm).to(vlm.device)


def _features(store: FeatureStore, views: tuple[list[View], list[View]], networks: list[Path]) -> Features:
    backlit, well_lit = views
    relit = []
    for path in networks:
        network, _ = load_network(path, store.vlm.device)
        relit.append(store.get(backlit, network, hashlib.sha256(path.read_bytes()).hexdigest()))
    return [store.get(backlit), *relit, store.get(well_lit)]


def _loss(
    step: int, prompts: PromptPair, vlm: VisionLanguageModel, features: Features, params: Params, first: bool
) -> dict[str, Tensor]:
    """Cross-entropy in round 0, the rank loss afterwards, on the step's tuples."""
    count = len(features[0])
    indices = draw_indices(params.seed, "prompts", step, params.training.prompt_batch, count)
    batch = [value[indices] for value in features]
    pair = prompts.features(vlm)
    if not first:
        return {"loss": rank_loss(batch, pair, vlm.logit_scale)}
    labels = torch.tensor([0, 1], device=vlm.device).repeat_interleave(len(indices))
    return {"loss": prompt_cross_entropy(torch.cat(batch), labels, pair, vlm.logit_scale)}


def _folder(
    params: Params, phase: Phase, round_name: str, project: Path, vlm: VisionLanguageModel, networks: list[Path]
) -> Path:
    """Where this run's checkpoints lie: another folder for everything that would train other prompts."""
    settings = {
        "seed": params.seed,
        "guidance": asdict(params.guidance),
        "training": asdict(params.training),
        "phase": asdict(phase.config),
        "model": vlm.fingerprint,
        "device": vlm.device.type,
    }
    inputs = [project / DATASET, *networks]
    if round_name != "0":
        previous = params.rounds[round_name].previous
        inputs.append(project / "artifacts" / "prompts" / previous / "prompts.safetensors")
    return project / "work" / f"prompts-{round_name}" / fingerprint(settings, inputs, project)
