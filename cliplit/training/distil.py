"""The paper's network taught by another one: it learns the light that its teacher gives to whole photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cliplit.config import NetworkConfig, Params, PhaseConfig
from cliplit.enhancer import pick_device
from cliplit.networks import apply_illumination, build_network, load_network, save_network
from cliplit.training.checkpoint import Checkpoints, fingerprint
from cliplit.training.crops import draw_crops, draw_indices, seed_of, to_tensor
from cliplit.training.dataset import DATASET, Dataset
from cliplit.training.loop import Curves, Phase, Row, descend, reproducible
from cliplit.training.noise import camera_noise

SIDES = (96, 128, 160, 192)  # px; whole photos at several sizes, because the pupil's reach is 17 px at any of them
BATCH = 2
LEARNING_RATE = 1e-3
WELL_LIT_SHARE = 4  # every so many photos is a well-lit one, whose light is to leave it alone


def distil(params: Params, project: Path, teacher_file: Path, out: Path, steps: int, tracker: Curves) -> list[Row]:
    """Train a unet on the curated photos to give the light of the network in ``teacher_file``; write it to ``out``.

    The loss is the mean |log L - log L'| plus the mean |y - y'| of the pictures, pupil against teacher. Returns the
    curve; resumes after a kill. Raises UserError when the photos or the teacher are not there.
    """
    device = pick_device(params.device)
    config = NetworkConfig("unet", params.network.max_gain)
    with reproducible(device, params.seed):
        teacher, _ = load_network(teacher_file, device)
        dataset = Dataset(project)
        pupil = build_network(config).to(device).train()
        phase = Phase("distil", PhaseConfig(steps, LEARNING_RATE), _lesson(params, dataset, teacher, pupil, device))
        settings = {
            "seed": params.seed,
            "steps": steps,
            "max_gain": config.max_gain,
            "noise_share": params.training.noise_share,
            "device": device.type,
            "teacher": hashlib.sha256(teacher_file.read_bytes()).hexdigest(),  # which may lie outside the project
        }
        folder = project / "work" / "distil" / fingerprint(settings, [project / DATASET], project)
        curve = descend(
            "distil",
            pupil,
            [phase],
            lambda: _examination(dataset, teacher, pupil, device),
            Checkpoints(folder),
            params.training.checkpoint_steps,
            0.0,
            tracker,
        )
    save_network(pupil, config, out)
    return curve


def _lesson(
    params: Params, dataset: Dataset, teacher: nn.Module, pupil: nn.Module, device: torch.device
) -> Callable[[int], dict[str, Tensor]]:
    photos = {role: dataset.select(role, "train") for role in ("backlit", "well_lit")}

    def batch(step: int) -> Tensor:
        role = "well_lit" if step % WELL_LIT_SHARE == WELL_LIT_SHARE - 1 else "backlit"
        indices = draw_indices(params.seed, f"distil {role}", step, BATCH, len(photos[role]))
        side = SIDES[seed_of(params.seed, "distil side", step) % len(SIDES)]
        images = [_squeezed(dataset.pixels(photos[role][index]), side) for index in indices]
        flips = draw_crops(params.seed, "distil flips", step, BATCH)
        images = [image[:, ::-1] if crop.flip_columns else image for image, crop in zip(images, flips, strict=True)]
        noisy = seed_of(params.seed, "distil noise", step)
        return camera_noise(to_tensor(images, device), params.training.noise_share, noisy)

    def loss(step: int) -> dict[str, Tensor]:
        return compared(batch(step), teacher, pupil)

    return loss


def compared(image_BCHW: Tensor, teacher: nn.Module, pupil: nn.Module) -> dict[str, Tensor]:
    """The loss of the pupil on one batch of images, and its two terms."""
    with torch.no_grad():
        right = teacher(image_BCHW)
    light = pupil(image_BCHW)
    of_light = F.l1_loss(light.log(), right.log())
    of_picture = F.l1_loss(apply_illumination(image_BCHW, light), apply_illumination(image_BCHW, right))
    return {"loss": of_light + of_picture, "light": of_light, "picture": of_picture}


def _examination(dataset: Dataset, teacher: nn.Module, pupil: nn.Module, device: torch.device) -> Row:
    """Both terms on a dozen held-out photos of each role."""
    totals: Row = {}
    for role in ("backlit", "well_lit"):
        photos = dataset.select(role, "val")
        chosen = photos[:: -(-len(photos) // 12)]
        for row in chosen:
            with torch.no_grad():
                terms = compared(to_tensor([_squeezed(dataset.pixels(row), 160)], device), teacher, pupil)
            for name, value in terms.items():
                totals[f"val_{name}_{role}"] = totals.get(f"val_{name}_{role}", 0.0) + float(value) / len(chosen)
    return totals


def _squeezed(pixels: np.ndarray, side: int) -> np.ndarray:
    """The whole photo as side x side pixels."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
