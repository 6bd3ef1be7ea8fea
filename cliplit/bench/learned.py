"""LPIPS and CLIP-IQA, where torchmetrics and their weights are on this machine already: nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ALEXNET = "alexnet-owt-7be5be79.pth"
CLIP = "openai/clip-vit-base-patch16"


@dataclass(frozen=True)
class Learned:
    """A metric of learned weights: its column, whether it compares with a reference, and how it is computed."""

    name: str
    paired: bool
    measure: Callable[[np.ndarray, np.ndarray | None], float]


def available() -> tuple[list[Learned], list[str]]:
    """The metrics that can be computed here, and for each of the others one sentence that says what is missing."""
    found: list[Learned] = []
    missing: list[str] = []
    if importlib.util.find_spec("torchmetrics") is None:
        return [], ["LPIPS and CLIP-IQA are left out: torchmetrics is not installed"]
    alexnet = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if alexnet.is_file():
        found.append(Learned("lpips", True, _lpips()))
    else:
        missing.append(f"LPIPS is left out: AlexNet's weights ({ALEXNET}) are not in torch's cache")
    clip = _clip_folder()
    if clip is not None:
        found.append(Learned("clip_iqa", False, _clip_iqa(clip)))
    else:
        missing.append(f"CLIP-IQA is left out: {CLIP} and transformers are not both on this machine")
    return found, missing


def _lpips() -> Callable[[np.ndarray, np.ndarray | None], float]:
    """LPIPS with AlexNet (Zhang et al. 2018) of images in 0..1."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()

    def measure(after: np.ndarray, reference: np.ndarray | None) -> float:
        assert reference is not None
        with torch.inference_mode():
            return float(metric.net(_tensor(after), _tensor(reference), normalize=True).squeeze())

    return measure


def _clip_iqa(folder: str) -> Callable[[np.ndarray, np.ndarray | None], float]:
    """CLIP-IQA (Wang et al. 2023), the prompt pair "Good photo." against "Bad photo.", 0..1, from a local folder."""
    from torchmetrics.multimodal import CLIPImageQualityAssessment

    local: Any = folder  # typed there as one of its hub names, though any folder does
    metric = CLIPImageQualityAssessment(model_name_or_path=local, data_range=1.0, prompts=("quality",))

    def measure(after: np.ndarray, reference: np.ndarray | None) -> float:
        with torch.inference_mode():
            return float(metric(_tensor(after)).squeeze())

    return measure


def _clip_folder() -> str | None:
    """The folder in Hugging Face's cache that holds the whole model; a folder, so that nobody asks the network."""
    if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    needed = ("config.json", "preprocessor_config.json", "tokenizer.json")
    files = [try_to_load_from_cache(CLIP, name) for name in needed]
    weights = [try_to_load_from_cache(CLIP, name) for name in ("model.safetensors", "pytorch_model.bin")]
    if not all(isinstance(file, str) for file in files) or not any(isinstance(file, str) for file in weights):
        return None
    return str(Path(str(files[0])).parent)


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255
