"""Stage enhancer: the network learns to change nothing, then to relight under the round's prompt pair."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliplit.config import GuidanceConfig, NetworkConfig, Params
from cliplit.enhancer import pick_device
from cliplit.files import atomic_path
from cliplit.guidance.light import NamedLight
from cliplit.guidance.losses import enhancement_loss, identity_loss
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import VisionLanguageModel, resolve_models
from cliplit.networks import build_network, enhance, load_network, save_network
from cliplit.training.checkpoint import Checkpoints, fingerprint
from cliplit.training.crops import WHOLE, cut, draw_crops, draw_indices, to_tensor
from cliplit.training.dataset import DATASET, Dataset, require
from cliplit.training.loop import Curves, Phase, Row, descend, reproducible, write_curve, write_metrics

_HELD_OUT = 32


class Guidance:
    """The loss of the enhancer under one frozen prompt pair; the texts are encoded once."""

    def __init__(self, config: GuidanceConfig, prompts_path: Path, device: torch.device) -> None:
        self.config = config
        self.prompt_model, self.identity_model = resolve_models(config, device)
        with torch.no_grad():
            self.prompts = PromptPair.load(prompts_path, self.prompt_model).to(device).features(self.prompt_model)
        self.light = NamedLight.from_config(self.prompt_model, config)

    def warm(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Change nothing: identity features plus squared error of pixels."""
        identity = self._identity(before, after)
        return {"loss": identity + F.mse_loss(after, before), "identity": identity}

    def enhance(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """prompt_weight·(−log P(positive)) + bad_light_weight·(−log P(good light)) + identity_weight·identity."""
        features = self.prompt_model.encode_images(after)
        prompt = enhancement_loss(features, self.prompts, self.prompt_model.logit_scale)
        bad_light = -self.light.log_probability(features).mean()
        identity = self._identity(before, after)
        loss = self.config.prompt_weight * prompt + self.config.bad_light_weight * bad_light
        loss = loss + self.config.identity_weight * identity
        return {"loss": loss, "prompt": prompt, "bad_light": bad_light, "identity": identity}

    def _identity(self, before: Tensor, after: Tensor) -> Tensor:
        with torch.no_grad():
            original = self.identity_model.identity_features(before)
        return identity_loss(self.identity_model.identity_features(after), original)


def run(params: Params, round_name: str, project: Path, tracker: Curves) -> None:
    """Write artifacts/enhancer/<round>/network.safetensors (and earlier.safetensors), its curve and its metrics."""
    device = pick_device(params.device)
    folder = project / "artifacts" / "enhancer" / round_name
    prompts = project / "artifacts" / "prompts" / round_name / "prompts.safetensors"
    require(prompts, f"prompts --round {round_name}")
    with reproducible(device, params.seed):
        guidance = Guidance(params.guidance, prompts, device)
        dataset = Dataset(project)
        network, config, earlier = _start(params, round_name, project, device)
        network.train()
        phases = _phases(params, round_name, network, guidance, dataset)
        models = [guidance.prompt_model, guidance.identity_model]
        inputs = [project / DATASET, prompts, *([earlier] if earlier else [])]
        checkpoints = Checkpoints(_folder(params, phases, round_name, project, models, inputs))
        curve = descend(
            f"enhancer, round {round_name}",
            network,
            phases,
            held_out_terms(params, network, guidance, dataset),
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
    """The network that a round starts from, and the file it came from (none in round 0)."""
    if round_name == "0":
        return build_network(params.network).to(device), params.network, None
    previous = params.rounds[round_name].previous
    path = project / "artifacts" / "enhancer" / previous / "network.safetensors"
    network, config = load_network(require(path, f"enhancer --round {previous}"), device)
    return network, config, path


def _phases(params: Params, round_name: str, network: nn.Module, guidance: Guidance, dataset: Dataset) -> list[Phase]:
    """Warm start and enhancement in round 0, enhancement alone afterwards."""
    photos = dataset.select("backlit", "train")

    def batch(step: int) -> Tensor:
        crops = draw_crops(params.seed, f"enhancer {round_name}", step, params.training.batch)
        stream = f"enhancer photos {round_name}"
        indices = draw_indices(params.seed, stream, step, params.training.batch, len(photos))
        images = [
            cut(dataset.pixels(photos[index]), crop, params.training.crop)
            for index, crop in zip(indices, crops, strict=True)
        ]
        return to_tensor(images, guidance.prompt_model.device)

    def warm(step: int) -> dict[str, Tensor]:
        image = batch(step)
        return guidance.warm(image, enhance(network, image))

    def relight(step: int) -> dict[str, Tensor]:
        image = batch(step)
        return guidance.enhance(image, enhance(network, image))

    if round_name == "0":
        return [Phase("warm_start", params.warm_start, warm), Phase("enhancer", params.enhancer, relight)]
    return [Phase(f"rounds.{round_name}.enhancer", params.rounds[round_name].enhancer, relight)]


def held_out_terms(params: Params, network: nn.Module, guidance: Guidance, dataset: Dataset) -> partial[Row]:
    """A function that measures the terms of the loss on at most 32 held-out photos, evenly chosen, as wholes."""
    photos = dataset.select("backlit", "val")
    chosen = photos[:: -(-len(photos) // _HELD_OUT)]
    images = [cut(dataset.pixels(row), WHOLE, params.training.crop) for row in chosen]
    return partial(_measure, images, network, guidance, params.training.batch)


def _measure(images: list, network: nn.Module, guidance: Guidance, batch: int) -> Row:
    totals: Row = {}
    with torch.no_grad():
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            image = to_tensor(part, guidance.prompt_model.device)
            after = enhance(network, image)
            terms = guidance.enhance(image, after)
            terms["brightening"] = after.mean() - image.mean()
            for name, value in terms.items():
                totals[f"val_{name}"] = totals.get(f"val_{name}", 0.0) + float(value) * len(part) / len(images)
    return totals


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
