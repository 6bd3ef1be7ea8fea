"""Stage enhancer: the network learns to change nothing, then to relight under the round's guidance."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cliplit.config import NetworkConfig, Params
from cliplit.enhancer import pick_device
from cliplit.files import atomic_path
from cliplit.guidance.storage import FILE
from cliplit.guidance.vlm import VisionLanguageModel
from cliplit.networks import build_network, enhance, load_network, save_network
from cliplit.training.checkpoint import Checkpoints, fingerprint
from cliplit.training.crops import WHOLE, cut, draw_crops, draw_indices, seed_of, to_tensor
from cliplit.training.dataset import DATASET, Dataset, require
from cliplit.training.loop import Curves, Phase, Row, descend, reproducible, write_curve, write_metrics
from cliplit.training.noise import camera_noise
from cliplit.training.objective import Objective, Pictures
from cliplit.training.plateaus import Plateaus, draw_plateaus
from cliplit.training.shade import shaded
from cliplit.training.start import Start, read_start

_HELD_OUT = 32


def run(params: Params, round_name: str, project: Path, tracker: Curves) -> None:
    """Write artifacts/enhancer/<round>/network.safetensors (and earlier.safetensors), its curve and its metrics."""
    device = pick_device(params.device)
    folder = project / "artifacts" / "enhancer" / round_name
    prompts = project / "artifacts" / "prompts" / round_name / FILE
    require(prompts, f"prompts --round {round_name}")
    with reproducible(device, params.seed):
        objective = Objective(params.guidance, prompts, device)
        dataset = Dataset(project)
        network, config, earlier = _start(params, round_name, project, device)
        network.train()
        start = read_start(project)
        phases = _phases(params, round_name, start, network, objective, dataset)
        models = [objective.prompt_model, objective.identity_model]
        inputs = [project / DATASET, prompts, *([earlier] if earlier else [])]
        inputs += start.files if round_name == "0" else []
        checkpoints = Checkpoints(_folder(params, phases, round_name, project, models, inputs))
        curve = descend(
            f"enhancer, round {round_name}",
            network,
            phases,
            held_out_terms(params, network, objective, dataset),
            checkpoints,
            params.training.checkpoint_steps,
            params.training.weight_decay,
            tracker,
        )
    if earlier:
        with atomic_path(folder / "earlier.safetensors") as temporary:
            temporary.write_bytes(earlier.read_bytes())
    save_network(network, config, folder / "network.safetensors")
    write_curve(project / "artifacts" / "plots" / f"enhancer_{round_name}.csv", curve)
    write_metrics(project / "artifacts" / "metrics" / f"enhancer_{round_name}.json", curve)


def _start(
    params: Params, round_name: str, project: Path, device: torch.device
) -> tuple[nn.Module, NetworkConfig, Path | None]:
    """The network that a round starts from, and the file of the round before it that it came from (none in round 0)."""
    if round_name == "0":
        if champion := read_start(project).network:
            return *load_network(champion, device), None
        return build_network(params.network).to(device), params.network, None
    previous = params.rounds[round_name].previous
    path = project / "artifacts" / "enhancer" / previous / "network.safetensors"
    network, config = load_network(require(path, f"enhancer --round {previous}"), device)
    return network, config, path


def _phases(
    params: Params, round_name: str, start: Start, network: nn.Module, objective: Objective, dataset: Dataset
) -> list[Phase]:
    """Warm start and enhancement in round 0, enhancement alone afterwards and in a network that can relight already."""
    photos = {role: dataset.select(role, "train") for role in ("backlit", "well_lit")}

    def batch(role: str, step: int, count: int) -> Tensor:
        stream = f"enhancer {round_name} {role}"
        crops = draw_crops(params.seed, stream, step, count)
        indices = draw_indices(params.seed, f"photos of {stream}", step, count, len(photos[role]))
        images = [
            cut(dataset.pixels(photos[role][index]), crop, params.training.crop)
            for index, crop in zip(indices, crops, strict=True)
        ]
        return to_tensor(images, objective.prompt_model.device)

    def warm(step: int) -> dict[str, Tensor]:
        image = batch("backlit", step, params.training.batch)
        return objective.warm(image, enhance(network, image))

    def relight(step: int) -> dict[str, Tensor]:
        few = max(1, params.training.batch // 2)
        number = seed_of(params.seed, f"drawn for enhancer {round_name}", step)
        backlit = camera_noise(batch("backlit", step, params.training.batch), params.training.noise_share, number)
        plateaus = _on(objective, draw_plateaus(few, params.training.crop, number))
        well_lit = batch("well_lit", step, few)
        return objective.relight(network, Pictures(backlit, well_lit, shaded(well_lit, number), plateaus))

    if round_name == "0" and start.network:
        return [Phase("enhancer", start.shortened(params.enhancer), relight)]
    if round_name == "0":
        return [Phase("warm_start", params.warm_start, warm), Phase("enhancer", params.enhancer, relight)]
    return [Phase(f"rounds.{round_name}.enhancer", params.rounds[round_name].enhancer, relight)]


def held_out_terms(params: Params, network: nn.Module, objective: Objective, dataset: Dataset) -> partial[Row]:
    """A function that measures the terms of the loss on at most 32 held-out photos a role, as wholes."""
    pictures = []
    for role in ("backlit", "well_lit"):
        photos = dataset.select(role, "val")
        chosen = photos[:: -(-len(photos) // _HELD_OUT)]
        pictures.append([cut(dataset.pixels(row), WHOLE, params.training.crop) for row in chosen])
    return partial(_measure, pictures[0], pictures[1], network, objective, params.training.batch)


def _measure(backlit: list, fair: list, network: nn.Module, objective: Objective, batch: int) -> Row:
    """Means over the backlit photos; each batch of them is measured beside as many well-lit ones."""
    totals: Row = {}
    with torch.no_grad():
        for start in range(0, len(backlit), batch):
            part = backlit[start : start + batch]
            beside = [fair[(start + offset) % len(fair)] for offset in range(len(part))]
            device = objective.prompt_model.device
            plateaus = _on(objective, draw_plateaus(len(part), part[0].shape[0], start))
            well_lit = to_tensor(beside, device)
            pictures = Pictures(to_tensor(part, device), well_lit, shaded(well_lit, start), plateaus)
            terms = objective.relight(network, pictures)
            for name, value in terms.items():
                totals[f"val_{name}"] = totals.get(f"val_{name}", 0.0) + float(value) * len(part) / len(backlit)
    return totals


def _on(objective: Objective, plateaus: Plateaus) -> Plateaus:
    device = objective.prompt_model.device
    return Plateaus(plateaus.image.to(device), plateaus.bright.to(device))


def _folder(
    params: Params,
    phases: list[Phase],
    round_name: str,
    project: Path,
    models: list[VisionLanguageModel],
    inputs: list[Path],
) -> Path:
    """Where this run's checkpoints lie: another folder for everything that would train another network."""
    settings = {
        "seed": params.seed,
        "guidance": asdict(params.guidance),
        "network": asdict(params.network),
        "training": asdict(params.training),
        "phases": [asdict(phase.config) for phase in phases],
        "models": [model.fingerprint for model in models],
        "device": models[0].device.type,
    }
    return project / "work" / f"enhancer-{round_name}" / fingerprint(settings, inputs, project)
