"""Named light: how good a photo's light is among kinds of light that have a name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cliplit.config import GuidanceConfig
from cliplit.guidance.vlm import VisionLanguageModel


class NamedLight:
    """Zero-shot classifier of one good caption against several bad ones.

    A prompt pair knows only backlit against well-lit and is content with a white picture; naming what else can be
    wrong keeps the enhancer from trading one defect for another.
    """

    def __init__(self, vlm: VisionLanguageModel, good: str, bad: tuple[str, ...]) -> None:
        self.captions = (good, *bad)
        self.scale = vlm.logit_scale
        self.text_features = vlm.encode_texts(list(self.captions))

    @classmethod
    def from_config(cls, vlm: VisionLanguageModel, guidance: GuidanceConfig) -> NamedLight:
        """With ``guidance.positive_text`` as good light and ``guidance.bad_light`` as bad."""
        return cls(vlm, guidance.positive_text, guidance.bad_light)

    def log_probabilities(self, image_features_BD: Tensor) -> Tensor:
        """log P(caption | photo), Bx(1 + bad), good light first; differentiable."""
        return F.log_softmax(self.scale * image_features_BD @ self.text_features.T, dim=1)

    def log_probability(self, image_features_BD: Tensor) -> Tensor:
        """log P(good light | photo), B values ≤ 0; differentiable."""
        return self.log_probabilities(image_features_BD)[:, 0]


#: Side of a region as a share of the photo's; four of them overlap and cover it.
REGION = 5 / 8


def regions(image_BCHW: Tensor) -> Tensor:
    """The four corner windows of each image, 4B×C×h×w, h = REGION·H: what light is judged by locally.

    A photo whose face is dark before a bright sky is fair on the whole; its regions are not.
    """
    height, width = image_BCHW.shape[-2:]
    tall, wide = max(1, round(height * REGION)), max(1, round(width * REGION))
    corners = [(top, left) for top in (0, height - tall) for left in (0, width - wide)]
    return torch.cat([image_BCHW[..., top : top + tall, left : left + wide] for top, left in corners])
