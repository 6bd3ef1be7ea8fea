"""What the enhancer aims at, frozen: a pair of features, or a residual vector; one file each, in one folder a round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cliplit.config import GuidanceConfig
from cliplit.guidance.losses import enhancement_loss, log_odds, residual_loss
from cliplit.guidance.prompts import LatentPair, Pair, PromptPair
from cliplit.guidance.residual import Residual
from cliplit.guidance.vlm import VisionLanguageModel

#: The kinds of guidance that are computed; all others learn a pair.
RESIDUALS = ("residual", "residual_shifted")


class Target(Protocol):
    """What every kind of guidance comes down to."""

    def loss(self, image_features_BD: Tensor) -> Tensor:
        """Mean over images, a scalar ≥ 0; differentiable, and with a gradient where a photo is far from well-lit."""
        ...

    def log_odds(self, image_features_BD: Tensor) -> Tensor:
        """log P(well-lit) − log P(backlit), B values."""
        ...


@dataclass(frozen=True)
class PairTarget:
    """Unit features 2xD of what must go and of what must come, and the model's logit scale."""

    features_2D: Tensor
    scale: float

    def loss(self, image_features_BD: Tensor) -> Tensor:
        """Mean −log P(positive)."""
        return enhancement_loss(image_features_BD, self.features_2D, self.scale)

    def log_odds(self, image_features_BD: Tensor) -> Tensor:
        """s·Φ(I)·(T[1] − T[0])."""
        return log_odds(image_features_BD, self.features_2D, self.scale)


@dataclass(frozen=True)
class ResidualTarget:
    """A residual vector and the model's logit scale."""

    residual: Residual
    scale: float

    def loss(self, image_features_BD: Tensor) -> Tensor:
        """Mean squared distance along r from the mean well-lit photo."""
        where = image_features_BD @ self.residual.direction
        return residual_loss(where, self.residual.backlit, self.residual.well_lit)

    def log_odds(self, image_features_BD: Tensor) -> Tensor:
        """s·(τ_p − τ_n)·(⟨Φ(I), r⟩ − (τ_p + τ_n)/2): of the unshifted r, exactly s·⟨Φ(I), v_p − v_n⟩."""
        high, low = self.residual.well_lit, self.residual.backlit
        return self.scale * (high - low) * (image_features_BD @ self.residual.direction - (high + low) / 2)


def pair_target(pair: Pair, vlm: VisionLanguageModel) -> PairTarget:
    """The pair as it stands now; differentiable."""
    return PairTarget(pair.features(vlm), vlm.logit_scale)


@torch.no_grad()
def load_target(path: Path, guidance: GuidanceConfig, vlm: VisionLanguageModel) -> Target:
    """What the stage prompts wrote under ``guidance.kind``; raises UserError when another kind or model wrote it."""
    if guidance.kind in RESIDUALS:
        return ResidualTarget(Residual.load(path, vlm), vlm.logit_scale)
    return pair_target(load_pair(path, guidance, vlm), vlm)


def start_pair(guidance: GuidanceConfig, vlm: VisionLanguageModel) -> Pair:
    """What learns under ``guidance.kind``, before it has learned."""
    return LatentPair.start(vlm) if guidance.kind == "latent" else PromptPair.start(vlm, guidance)


def load_pair(path: Path, guidance: GuidanceConfig, vlm: VisionLanguageModel) -> Pair:
    """What has learned under ``guidance.kind``; raises UserError when another kind or model wrote it."""
    kind = LatentPair if guidance.kind == "latent" else PromptPair
    return kind.load(path, vlm).to(vlm.device)
