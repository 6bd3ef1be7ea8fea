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
from cliplit.guidance.light import NamedLight, regions
from cliplit.guidance.losses import enhancement_loss, harm_loss, identity_loss, smoothness_loss
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import VisionLanguageModel, resolve_models
from cliplit.networks import apply_illumination, build_network, enhance, load_network, save_network
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

    def relight(self, network: nn.Module, backlit: Tensor, well_lit: Tensor) -> dict[str, Tensor]:
        """The weighted sum of what good light asks for and of what must stay as it is, and its terms.

        prompt −log P(positive | y), bad_light −log P(good light | y), region the same of y's four corner windows,
        identity and smoothness are means over the backlit photos, harm over the well-lit ones; the weights are the
        keys of the same names in params.yaml.
        """
        light = network(backlit)
        after = apply_illumination(backlit, light)
        features = self.prompt_model.encode_images(after)
        terms = {
            "prompt": enhancement_loss(features, self.prompts, self.prompt_model.logit_scale),
            "bad_light": -self.light.log_probability(features).mean(),
            "region": -self.light.log_probability(self.prompt_model.encode_images(regions(after))).mean(),
            "identity": self._identity(backlit, after),
            "smoothness": smoothness_loss(light, backlit),
            "harm": harm_loss(enhance(network, well_lit), well_lit),
        }
        loss = torch.stack([getattr(self.config, f"{name}_weight") * value for name, value in terms.items()]).sum()
        return {"loss": loss, **terms, "brightening": (after - backlit).mean().detach()}

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
    photos = {role: dataset.select(role, "train") for role in ("backlit", "well_lit")}

    def batch(role: str, step: int, count: int) -> Tensor:
        stream = f"enhancer {round_name} {role}"
        crops = draw_crops(params.seed, stream, step, count)
        indices = draw_indices(params.seed, f"photos of {stream}", step, count, len(photos[role]))
        images = [
            cut(dataset.pixels(photos[role][index]), crop, params.training.crop)
            for index, crop in zip(indices, crops, strict=True)
        ]
        return to_tensor(images, guidance.prompt_model.device)

    def warm(step: int) -> dict[str, Tensor]:
        image = batch("backlit", step, params.training.batch)
        return guidance.warm(image, enhance(network, image))

    def relight(step: int) -> dict[str, Tensor]:
        well_lit = batch("well_lit", step, max(1, params.training.batch // 2))
        return guidance.relight(network, batch("backlit", step, params.training.batch), well_lit)

    if round_name == "0":
        return [Phase("warm_start", params.warm_start, warm), Phase("enhancer", params.enhancer, relight)]
    return [Phase(f"rounds.{round_name}.enhancer", params.rounds[round_name].enhancer, relight)]


def held_out_terms(params: Params, network: nn.Module, guidance: Guidance, dataset: Dataset) -> partial[Row]:
    """A function that measures the terms of the loss on at most 32 held-out photos a role, as wholes."""
    pictures = []
    for role in ("backlit", "well_lit"):
        photos = dataset.select(role, "val")
        chosen = photos[:: -(-len(photos) // _HELD_OUT)]
        pictures.append([cut(dataset.pixels(row), WHOLE, params.training.crop) for row in chosen])
    return partial(_measure, pictures[0], pictures[1], network, guidance, params.training.batch)


def _measure(backlit: list, well_lit: list, network: nn.Module, guidance: Guidance, batch: int) -> Row:
    """Means over the backlit photos; each batch of them is measured beside as many well-lit ones."""
    totals: Row = {}
    with torch.no_grad():
        for start in range(0, len(backlit), batch):
            part = backlit[start : start + batch]
            beside = [well_lit[(start + offset) % len(well_lit)] for offset in range(len(part))]
            device = guidance.prompt_model.device
            for name, value in guidance.relight(network, to_tensor(part, device), to_tensor(beside, device)).items():
                totals[f"val_{name}"] = totals.get(f"val_{name}", 0.0) + float(value) * len(part) / len(backlit)
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
