"""The losses of CLIP-LIT (arXiv 2303.17569), each stated per image, so that the batch size changes none of them.

Notation: Φ(I) unit image features, T = (negative, positive) unit prompt features, s the logit scale,
P(I) = softmax(s·Φ(I)·T)[negative], the probability that a photo is backlit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LAYER_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 0.5)
#: Margins of the rank loss: everything against the backlit photo, and neighbours among the rest.
FAR_MARGIN = 0.9
NEAR_MARGIN_ONE_RESULT = 0.2
NEAR_MARGIN_TWO_RESULTS = 0.1
RESIDUAL_SCALE = 8.0


def log_odds(image_features_BD: Tensor, prompts_2D: Tensor, scale: float) -> Tensor:
    """log P(positive) − log P(negative) = s·Φ(I)·(T[1] − T[0]), B values; does not saturate."""
    return scale * image_features_BD @ (prompts_2D[1] - prompts_2D[0])


def backlit_probability(image_features_BD: Tensor, prompts_2D: Tensor, scale: float) -> Tensor:
    """P(I), B values in 0..1."""
    return torch.sigmoid(-log_odds(image_features_BD, prompts_2D, scale))


def prompt_cross_entropy(image_features_BD: Tensor, labels_B: Tensor, prompts_2D: Tensor, scale: float) -> Tensor:
    """Phase A: mean cross-entropy of backlit (label 0) against well-lit (label 1)."""
    return F.cross_entropy(scale * image_features_BD @ prompts_2D.T, labels_B)


def enhancement_loss(image_features_BD: Tensor, prompts_2D: Tensor, scale: float) -> Tensor:
    """Phase C, the prompt term: mean −log P(positive), which has a gradient where the paper's P saturates."""
    return F.softplus(-log_odds(image_features_BD, prompts_2D, scale)).mean()


def residual_loss(along_r_B: Tensor, backlit: Tensor, well_lit: Tensor) -> Tensor:
    """RAVE's: mean (⟨Φ(I), r⟩ − τ_p)², measured in the distance τ_p − τ_n of the classes' means along r.

    That makes it RESIDUAL_SCALE at the mean backlit photo under every model, about what −log P(positive) is there, so
    that one ``prompt_weight`` serves all kinds of guidance.
    """
    return RESIDUAL_SCALE * ((along_r_B - well_lit) / (well_lit - backlit)).square().mean()


def identity_loss(enhanced: list[Tensor], original: list[Tensor], weights: tuple[float, ...] = LAYER_WEIGHTS) -> Tensor:
    """Phases B and C: mean over images of Σ_l α_l·|F_l(y) − F_l(x)|² / |F_l(x)|², over the layers of both lists.

    The paper's loss divides by the number of elements instead; dividing by the energy of the original's features
    makes one weight mean the same under every model.
    """
    total = torch.zeros((), device=enhanced[0].device)
    for weight, after, before in zip(weights, enhanced, original, strict=True):
        distance = (after - before).square().flatten(1).mean(1)
        total = total + weight * (distance / before.square().flatten(1).mean(1).clamp_min(1e-6)).mean()
    return total


def margin_loss(worse_B: Tensor, better_B: Tensor, margin: float) -> Tensor:
    """R(a, b; m) = mean max(0, m − (P(a) − P(b))): ``worse`` shall look more backlit than ``better`` by ``margin``."""
    return F.relu(margin - (worse_B - better_B)).mean()


def rank_loss(features: list[Tensor], prompts_2D: Tensor, scale: float) -> Tensor:
    """Phase D. ``features`` BxD of the same crops in order: backlit, earlier results old to new, well-lit.

    One earlier result e:  R(x, w; .9) + R(x, e; .9) + R(e, w; .2).
    Two, s_old and s_new:  R(x, w; .9) + R(x, s_old; .9) + R(s_old, s_new; .1) + R(s_new, w; .1).
    """
    if len(features) not in (3, 4):
        raise ValueError(f"ranking needs one or two earlier results, not {len(features) - 2}")
    ranks = [backlit_probability(value, prompts_2D, scale) for value in features]
    near = NEAR_MARGIN_ONE_RESULT if len(ranks) == 3 else NEAR_MARGIN_TWO_RESULTS
    loss = margin_loss(ranks[0], ranks[-1], FAR_MARGIN) + margin_loss(ranks[0], ranks[1], FAR_MARGIN)
    for worse, better in zip(ranks[1:-1], ranks[2:], strict=True):
        loss = loss + margin_loss(worse, better, near)
    return loss


def smoothness_loss(illumination_B1HW: Tensor, image_BCHW: Tensor, edge: float = 0.05) -> Tensor:
    """Mean over pixels of (|∇log L| / (|∇x| + edge))², per image: light may change only where the photo does.

    Edge-aware as in LIME (Guo et al. 2017); ``edge`` is the step in sRGB-coded luma that starts to count as an edge.
    """
    log_light, luma = illumination_B1HW.log(), image_BCHW.mean(1, keepdim=True)
    total = torch.zeros((), device=image_BCHW.device)
    for axis in (2, 3):
        slope = log_light.diff(dim=axis) * edge / (luma.diff(dim=axis).abs() + edge)
        total = total + (slope * image_BCHW.shape[axis]).square().mean()
    return total / 100


def harm_loss(enhanced_BCHW: Tensor, well_lit_BCHW: Tensor) -> Tensor:
    """Mean over well-lit photos of 1000·MSE(output, input): 1 at 30 dB. A photo that is fine shall stay as it is."""
    return 1000 * (enhanced_BCHW - well_lit_BCHW).square().mean()


def halo_loss(illumination_B1HW: Tensor, bright_B1HW: Tensor) -> Tensor:
    """Mean over pictures of two plane areas of the variance of log L inside each area, added up.

    A gain that depends on the distance to an edge is a halo; in a plane area there is nothing else to depend on.
    ``bright`` is 1 in one area and 0 in the other.
    """
    log_light = illumination_B1HW.log()
    total = torch.zeros((), device=log_light.device)
    for area in (bright_B1HW, 1 - bright_B1HW):
        size = area.sum((1, 2, 3), keepdim=True).clamp_min(1)
        mean = (log_light * area).sum((1, 2, 3), keepdim=True) / size
        total = total + ((log_light - mean).square() * area / size).sum((1, 2, 3)).mean()
    return total
