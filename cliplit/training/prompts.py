"""Stage prompts: a pair learns backlit against well-lit, and in later rounds where results stand between.

Everything that a prompt sees is a feature of a crop, computed once (training.features), so a step costs text only.
A residual vector is computed from the same features instead, once, and later rounds keep it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cliplit.config import Params
from cliplit.enhancer import pick_device
from cliplit.files import write_json
from cliplit.guidance.losses import prompt_cross_entropy, rank_loss
from cliplit.guidance.prompts import Pair
from cliplit.guidance.residual import Residual, aligned_words
from cliplit.guidance.storage import FILE
from cliplit.guidance.targets import RESIDUALS, ResidualTarget, Target, load_pair, pair_target, start_pair
from cliplit.guidance.vlm import VisionLanguageModel, resolve_models
from cliplit.networks import load_network
from cliplit.training.checkpoint import Checkpoints, fingerprint
from cliplit.training.crops import WHOLE, draw_crops, draw_indices
from cliplit.training.dataset import DATASET, Dataset, require
from cliplit.training.features import FeatureStore, View
from cliplit.training.loop import Curves, Phase, Row, descend, reproducible, write_curve, write_metrics
from cliplit.training.start import read_start

Features = list[Tensor]  # NxD each: backlit, results of earlier networks old to new, well-lit


@dataclass(frozen=True)
class Round:
    """One run of the stage: where it reads and writes, and the networks whose results it sees."""

    params: Params
    name: str
    project: Path
    vlm: VisionLanguageModel
    networks: list[Path]

    @property
    def file(self) -> Path:
        """What this round writes."""
        return self.project / "artifacts" / "prompts" / self.name / FILE

    @property
    def first(self) -> bool:
        """Whether there are no results to rank yet."""
        return self.name == "0"

    @property
    def start(self) -> Path | None:
        """What this round goes on from: what the round before wrote; in round 0 the champion's, or None."""
        if self.first:
            return read_start(self.project).prompts
        previous = self.params.rounds[self.name].previous
        return require(self.project / "artifacts" / "prompts" / previous / FILE, f"prompts --round {previous}")


def run(params: Params, round_name: str, project: Path, tracker: Curves) -> None:
    """Write artifacts/prompts/<round>/prompts.safetensors, its curve and its metrics."""
    device = pick_device(params.device)
    with reproducible(device, params.seed):
        vlm, _ = resolve_models(params.guidance, device)
        dataset = Dataset(project)
        this = Round(params, round_name, project, vlm, earlier_networks(params, round_name, project))
        store = FeatureStore(project / "work" / "features", dataset, vlm, params.training.crop)
        trained = _features(store, training_views(dataset, params), this.networks)
        held_out = _features(store, held_out_views(dataset), this.networks)
        find = _find if params.guidance.kind in RESIDUALS else _learn
        curve = find(this, trained, held_out, tracker)
    write_curve(project / "artifacts" / "plots" / f"prompts_{round_name}.csv", curve)
    write_metrics(project / "artifacts" / "metrics" / f"prompts_{round_name}.json", curve)


def _learn(this: Round, trained: Features, held_out: Features, tracker: Curves) -> list[Row]:
    """A pair: by cross-entropy in round 0, by ranking afterwards."""
    params, first = this.params, this.first
    pair = load_pair(this.start, params.guidance, this.vlm) if this.start else start_pair(params.guidance, this.vlm)
    config = read_start(this.project).shortened(params.prompts) if first else params.rounds[this.name].prompts
    key = "prompts" if first else f"rounds.{this.name}.prompts"
    rate_key = f"{key}.learning_rate"
    if params.guidance.kind == "latent":
        config = replace(config, learning_rate=params.guidance.latent_learning_rate)
        rate_key = "guidance.latent_learning_rate"
    phase = Phase(
        key=key,
        config=config,
        loss=partial(_loss, pair=pair, vlm=this.vlm, features=trained, params=params, first=first),
        rate_key=rate_key,
    )
    curve = descend(
        f"prompts, round {this.name}",
        pair,
        [phase],
        lambda: judge(pair_target(pair, this.vlm), held_out),
        Checkpoints(_folder(this, phase)),
        params.training.checkpoint_steps,
        params.training.weight_decay,
        tracker,
    )
    pair.save(this.file)
    return curve


def _find(this: Round, trained: Features, held_out: Features, tracker: Curves) -> list[Row]:
    """A residual vector: from the photos in round 0, kept as it is afterwards; its curve is one point."""
    if this.start and not this.first:
        residual = Residual.load(this.start, this.vlm)
    else:
        residual = Residual.between(trained[0], trained[-1])
        if this.params.guidance.kind == "residual_shifted":
            words = this.vlm.vocabulary()
            most, least, removed = aligned_words(residual, words, this.vlm.encode_words(words))
            residual = residual.without(removed, trained[0], trained[-1])
            write_json(this.file.with_name("words.json"), {"most_aligned": most, "least_aligned": least})
    target = ResidualTarget(residual, this.vlm.logit_scale)
    row = {"step": 0, "loss": float(target.loss(trained[0])), **judge(target, held_out)}
    tracker.metrics({name: value for name, value in row.items() if name != "step"}, 0)
    residual.save(this.file)
    return [row]


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
def judge(target: Target, features: Features) -> Row:
    """Held-out photos: share judged rightly, mean P(backlit) of each kind, and share of neighbours in right order."""
    ranks = [torch.sigmoid(-target.log_odds(value)) for value in features]
    names = ["backlit", *["older", "newer"][4 - len(ranks) :], "well_lit"]
    right = (ranks[0] > 0.5).float().mean() + (ranks[-1] < 0.5).float().mean()
    row = {"val_accuracy": float(right) / 2}
    row |= {f"val_backlit_probability_{name}": float(rank.mean()) for name, rank in zip(names, ranks, strict=True)}
    ladder = [*ranks[:-1], ranks[-1].mean().expand_as(ranks[0])]
    ordered = [(worse > better).float().mean() for worse, better in zip(ladder[:-1], ladder[1:], strict=True)]
    row["val_rank_order"] = float(torch.stack(ordered).mean())
    row["val_margin"] = float(ranks[0].mean() - ranks[-1].mean())
    return row


def _features(store: FeatureStore, views: tuple[list[View], list[View]], networks: list[Path]) -> Features:
    backlit, well_lit = views
    relit = []
    for path in networks:
        network, _ = load_network(path, store.vlm.device)
        relit.append(store.get(backlit, network, hashlib.sha256(path.read_bytes()).hexdigest()))
    return [store.get(backlit), *relit, store.get(well_lit)]


def _loss(
    step: int, pair: Pair, vlm: VisionLanguageModel, features: Features, params: Params, first: bool
) -> dict[str, Tensor]:
    """Cross-entropy in round 0, the rank loss afterwards, on the step's tuples."""
    count = len(features[0])
    indices = draw_indices(params.seed, "prompts", step, params.training.prompt_batch, count)
    batch = [value[indices] for value in features]
    texts = pair.features(vlm)
    if not first:
        return {"loss": rank_loss(batch, texts, vlm.logit_scale)}
    labels = torch.tensor([0, 1], device=vlm.device).repeat_interleave(len(indices))
    return {"loss": prompt_cross_entropy(torch.cat(batch), labels, texts, vlm.logit_scale)}


def _folder(this: Round, phase: Phase) -> Path:
    """Where this run's checkpoints lie: another folder for everything that would train another pair."""
    settings = {
        "seed": this.params.seed,
        "guidance": asdict(this.params.guidance),
        "training": asdict(this.params.training),
        "phase": asdict(phase.config),
        "model": this.vlm.fingerprint,
        "device": this.vlm.device.type,
    }
    earlier = [this.start] if this.start else read_start(this.project).files
    inputs = [this.project / DATASET, *this.networks, *earlier]
    return this.project / "work" / f"prompts-{this.name}" / fingerprint(settings, inputs, this.project)
