"""The prompt pair: two learnable texts, one for what must go and one for what must come."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cliplit.config import GuidanceConfig
from cliplit.errors import UserError
from cliplit.files import atomic_path
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
        with atomic_path(path) as temporary:
            save_file({name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}, temporary)

    @classmethod
    def load(cls, path: Path, vlm: VisionLanguageModel) -> PromptPair:
        """Read prompts for ``vlm``; raises UserError when they were learned for a model of another width."""
        tensors = load_file(path, device=str(vlm.device))
        if set(tensors) != {"negative", "positive"} or tensors["negative"].shape[-1] != vlm.token_width:
            raise UserError(
                f"{path}: these prompts belong to another model than guidance.prompt_model; learn them anew"
            )
        return cls(tensors["negative"], tensors["positive"])
