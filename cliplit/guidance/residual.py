"""RAVE (arXiv 2404.01889): the direction from backlit to well-lit photos, and what is taken out of it.

v_p and v_n are the normalised means of the unit features of well-lit and of backlit photos; r = norm(v_p - v_n).
The shifted variant scores a vocabulary against r. The 15 most and the 15 least aligned words say what else than light
sets the two sets of photos apart; with features t_i and scores c_i = <t_i, r> their mean directions

    a = norm(mean over the most aligned of c_i t_i),  b = norm(mean over the least aligned of c_i t_i)

and d = norm(a + b) are removed from it: r <- norm(r - <r, d> d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cliplit.guidance.storage import load_tensors, save_tensors
from cliplit.guidance.vlm import VisionLanguageModel

WORDS = 15


@dataclass(frozen=True)
class Residual:
    """``direction`` r (D, of unit length), and where on it the means of well-lit and of backlit photos lie."""

    direction: Tensor
    well_lit: Tensor
    backlit: Tensor

    @classmethod
    def between(cls, backlit_ND: Tensor, well_lit_ND: Tensor) -> Residual:
        """From the unit features of backlit and of well-lit photos."""
        means = F.normalize(torch.stack([backlit_ND.mean(0), well_lit_ND.mean(0)]), dim=1)
        return cls._along(F.normalize(means[1] - means[0], dim=0), means)

    @classmethod
    def _along(cls, direction: Tensor, means_2D: Tensor) -> Residual:
        backlit, well_lit = means_2D @ direction
        return cls(direction, well_lit, backlit)

    def without(self, removed_D: Tensor, backlit_ND: Tensor, well_lit_ND: Tensor) -> Residual:
        """The same photos along what is left of r without the unit vector ``removed_D``."""
        means = F.normalize(torch.stack([backlit_ND.mean(0), well_lit_ND.mean(0)]), dim=1)
        left = self.direction - (self.direction @ removed_D) * removed_D
        return self._along(F.normalize(left, dim=0), means)

    def save(self, path: Path) -> None:
        """Write it atomically as safetensors."""
        save_tensors(path, {"direction": self.direction, "well_lit": self.well_lit, "backlit": self.backlit})

    @classmethod
    def load(cls, path: Path, vlm: VisionLanguageModel) -> Residual:
        """Read what ``save`` wrote; raises UserError when it was computed for a model of another width."""
        return cls(**load_tensors(path, {"direction": (vlm.feature_width,), "well_lit": (), "backlit": ()}, vlm.device))


def aligned_words(residual: Residual, words: Sequence[str], features_ND: Tensor) -> tuple[list[str], list[str], Tensor]:
    """The words most and least aligned with r, at most 15 each and each from its end, and the direction d to remove."""
    scores = features_ND @ residual.direction
    order = scores.argsort(descending=True, stable=True)
    count = min(WORDS, len(words) // 2)
    most, least = order[:count], order.flip(0)[:count]
    ends = [F.normalize((scores[end, None] * features_ND[end]).mean(0), dim=0) for end in (most, least)]
    return [words[i] for i in most], [words[i] for i in least], F.normalize(ends[0] + ends[1], dim=0)
