"""How good a lumiclip is: zero-shot accuracy on held-out photos, and its score along a sweep of exposure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cliplit.config import ModelConfig
from cliplit.errors import PhotoError, UserError
from cliplit.guidance.lumiclip.captions import caption_bank
from cliplit.guidance.lumiclip.conditions import DEFECTS, spoil, to_coded, to_linear
from cliplit.guidance.vlm import EMBEDDED, MEAN, STD, load_vlm, read_architecture
from cliplit.photos.codecs import eight_bit, list_photos, read_photo, to_srgb

_CACHE_SIDE = 144
_HELD_OUT = 7
_DRAWS = 3  # how often each held-out photo is spoilt by each defect
SWEEP = (-4.0, 3.0, 0.25)  # stops: from, to, step


def measure(photos: Path, weights: ModelConfig = EMBEDDED) -> dict[str, float]:
    """Figures of a trained lumiclip on the held-out part of ``photos/backlit`` and ``photos/well_lit``."""
    clip = load_vlm(weights, torch.device("cpu")).clip
    return zero_shot(
        clip, load_folder(photos / "backlit", held_out=True), load_folder(photos / "well_lit", held_out=True)
    )


def load_folder(folder: Path, held_out: bool) -> Tensor:
    """The held-out seventh of a folder's photos, or the rest, as uint8 N3SS, squeezed to a square as a model sees them.

    Photos that cannot be read are named and left out; raises UserError when fewer than two photos are there to load.
    """
    paths = [path for number, path in enumerate(list_photos(folder)) if (number % _HELD_OUT == 0) == held_out]
    pictures = []
    for path in tqdm(paths, desc=f"reading {folder.name}", disable=None):
        try:
            pixels = torch.from_numpy(np.array(eight_bit(to_srgb(read_photo(path))).pixels)).permute(2, 0, 1)[None]
        except PhotoError as error:
            tqdm.write(f"left out: {error}")
            continue
        small = F.interpolate(pixels.float(), size=(_CACHE_SIDE,) * 2, mode="bicubic", antialias=True)
        pictures.append(small.round().clamp(0, 255).to(torch.uint8))
    if len(pictures) < 2:
        raise UserError(f"{folder}: too few readable photos; the lighting prior needs at least {2 * _HELD_OUT}")
    return torch.cat(pictures)


def normalise(image_BCHW: Tensor) -> Tensor:
    """Coded RGB 0..1 to what the image tower expects."""
    return (image_BCHW - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@torch.inference_mode()
def zero_shot(model: open_clip.CLIP, backlit: Tensor, well_lit: Tensor, seed: int = 0) -> dict[str, float]:
    """Share of held-out pictures whose best caption is right: real backlit, well-lit, and each made defect.

    Real dark photos count as right when they are called backlit or underexposed.
    """
    architecture = read_architecture()
    side = architecture["vision_cfg"]["image_size"]
    tokenizer = open_clip.SimpleTokenizer(context_length=architecture["text_cfg"]["context_length"])
    bank = model.encode_text(tokenizer(caption_bank()), normalize=True)

    def classes(linear: Tensor) -> Tensor:
        features = [model.encode_image(normalise(to_coded(part)), normalize=True) for part in linear.split(64)]
        return (torch.cat(features) @ bank.T).argmax(1)

    def seen(pictures: Tensor) -> Tensor:
        return to_linear(F.interpolate(pictures.float() / 255, size=(side, side), mode="bilinear", antialias=True))

    dark = {1 + DEFECTS.index("backlit"), 1 + DEFECTS.index("underexposed")}
    metrics = {
        "accuracy_real_dark": sum(int(value) in dark for value in classes(seen(backlit))) / len(backlit),
        "accuracy_well_lit": (classes(seen(well_lit)) == 0).float().mean().item(),
        "accuracy_underexposed_2_stops": _share(classes(seen(well_lit) * 0.25), "underexposed"),
        "accuracy_overexposed_2_stops": _share(classes(seen(well_lit) * 4.0), "overexposed"),
    }
    generator = torch.Generator().manual_seed(seed)
    repeated = seen(well_lit).repeat(_DRAWS, 1, 1, 1)
    for column, defect in enumerate(DEFECTS):
        batch = spoil(repeated, defect, generator)
        severe = (batch.severity[:, column] > 0.9) & (batch.severity.sum(1) - batch.severity[:, column] < 0.3)
        if severe.any():
            metrics[f"accuracy_{defect.replace(' ', '_')}"] = _share(classes(batch.linear[severe]), defect)
            metrics[f"n_{defect.replace(' ', '_')}"] = float(severe.sum())
    metrics |= exposure_sweep(model, seen(well_lit), bank)
    metrics["held_out_backlit"], metrics["held_out_well_lit"] = float(len(backlit)), float(len(well_lit))
    return metrics


def _share(answers: Tensor, defect: str) -> float:
    return (answers == 1 + DEFECTS.index(defect)).float().mean().item()


def exposure_sweep(model: open_clip.CLIP, linear: Tensor, bank: Tensor) -> dict[str, float]:
    """Share of well-lit pictures (linear B3HW) whose probability of good light peaks within half a stop of as taken."""
    start, stop, step = SWEEP
    stops = torch.arange(start, stop + step / 2, step)
    scale = model.logit_scale.exp()
    curves = []
    for value in stops.tolist():
        features = model.encode_image(normalise(to_coded(linear * 2.0**value)), normalize=True)
        curves.append((scale * features @ bank.T).log_softmax(1)[:, 0])
    best = stops[torch.stack(curves).argmax(0)]
    return {
        "exposure_within_half_a_stop": (best.abs() <= 0.5).float().mean().item(),
        "exposure_mean_error_stops": best.mean().item(),
    }
