"""What learns to tell backlit from well-lit: two texts (CLIP-LIT), or two vectors (CLIP-LIT-Latent)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliplit.config import GuidanceConfig
from cliplit.guidance.storage import load_tensors, save_tensors
from cliplit.guidance.vlm import VisionLanguageModel


class PromptPair(nn.Module):
    """Token embeddings (each LxW, start to end token) of the negative and the positive prompt; both learn."""

    def __init__(self, negative: Tensor, positive: Tensor) -> None:
        super().__init__()
        self.negative = nn.Parameter(negative)
        self.positive = nn.Parameter(positive)

    @classmethod
    def start(cls, vlm: VisionLanguageModel, guidance: GuidanceConfig) -> PromptPair:
        """From the words in ``guidance``; without a negative text both start as "X X ... X" (CLIP-LIT, section 3.2)."""
        if guidance.negative_text is None:
            placeholder = " ".join(["X"] * guidance.prompt_words)
            return cls(vlm.embed_words(placeholder), vlm.embed_words(placeholder))
        return cls(vlm.embed_words(guidance.negative_text), vlm.embed_words(guidance.positive_text))

    def features(self, vlm: VisionLanguageModel) -> Tensor:
        """Unit features 2xD: row 0 the negative prompt, row 1 the positive one; differentiable."""
        return vlm.encode_prompts([self.negative, self.positive])

    def save(self, path: Path) -> None:
        """Write both prompts atomically as safetensors."""
        save_tensors(path, self.state_dict())

    @classmethod
    def load(cls, path: Path, vlm: VisionLanguageModel) -> PromptPair:
        """Read prompts for ``vlm``; raises UserError when they were learned for a model of another width."""
        width = (None, vlm.token_width)
        return cls(**load_tensors(path, {"negative": width, "positive": width}, vlm.device))


class LatentPair(nn.Module):
    """Two free vectors (D) in the place of the prompts' features (CLIP-LIT-Latent, arXiv 2404.01889): no text."""

    def __init__(self, negative: Tensor, positive: Tensor) -> None:
        super().__init__()
        self.negative = nn.Parameter(negative)
        self.positive = nn.Parameter(positive)

    @classmethod
    def start(cls, vlm: VisionLanguageModel) -> LatentPair:
        """Two random directions, by torch's generator."""
        negative, positive = F.normalize(torch.randn(2, vlm.feature_width), dim=1)
        return cls(negative.to(vlm.device), positive.to(vlm.device))

    def features(self, vlm: VisionLanguageModel) -> Tensor:
        """Unit features 2xD: row 0 the negative vector, row 1 the positive one; differentiable."""
        return F.normalize(torch.stack([self.negative, self.positive]), dim=1)

    def save(self, path: Path) -> None:
        """Write both vectors atomically as safetensors."""
        save_tensors(path, self.state_dict())

    @classmethod
    def load(cls, path: Path, vlm: VisionLanguageModel) -> LatentPair:
        """Read vectors for ``vlm``; raises UserError when they were learned for a model of another width."""
        width = (vlm.feature_width,)
        return cls(**load_tensors(path, {"negative": width, "positive": width}, vlm.device))


Pair = PromptPair | LatentPair
