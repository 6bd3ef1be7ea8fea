"""The loss of the enhancer: what the guidance asks for, and what must stay as it is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cliplit.config import GuidanceConfig
from cliplit.errors import UserError
from cliplit.guidance.light import NamedLight, regions
from cliplit.guidance.losses import halo_loss, harm_loss, identity_loss, smoothness_loss
from cliplit.guidance.targets import load_target
from cliplit.guidance.vlm import resolve_models
from cliplit.networks import apply_illumination, enhance
from cliplit.networks.denoise import calm_shadows, noise_levels
from cliplit.training.plateaus import Plateaus


class Pictures(NamedTuple):
    """What one step looks at, all sRGB-coded, 0..1; ``shaded`` are the photos of ``well_lit`` taken too dark."""

    backlit: Tensor
    well_lit: Tensor
    shaded: Tensor
    plateaus: Plateaus


class Objective:
    """The loss under one frozen target; texts are encoded once."""

    def __init__(self, config: GuidanceConfig, target_path: Path, device: torch.device) -> None:
        self.config = config
        self.prompt_model, self.identity_model = resolve_models(config, device)
        self.target = load_target(target_path, config, self.prompt_model)
        self.light = NamedLight.from_config(self.prompt_model, config) if config.kind == "ours" else None
        if self.light and config.local == "dense" and not self.prompt_model.has_dense_features:
            raise UserError(
                "params.yaml: key 'guidance.local' is 'dense', which the chosen guidance.prompt_model cannot give; "
                "use windows"
            )

    def warm(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Change nothing: identity features plus squared error of pixels."""
        identity = self._identity(before, after)
        return {"loss": identity + F.mse_loss(after, before), "identity": identity}

    def relight(self, network: nn.Module, pictures: Pictures) -> dict[str, Tensor]:
        """The weighted sum of what good light asks for and of what must stay as it is, and its terms.

        prompt is the target's loss; bad_light −log P(good light | y) and region the same of parts of y, both under
        ``ours`` only; identity and smoothness are means over the backlit photos, harm over the well-lit ones, recovery
        over the same in shade, halo over the drawn plateaus; the weights are the keys of the same names in params.yaml.
        """
        backlit, well_lit = pictures.backlit, pictures.well_lit
        light, after = _as_in_use(network, backlit)
        terms = self._wanted(after)
        terms["identity"] = self._identity(backlit, after)
        terms["smoothness"] = smoothness_loss(light, backlit)
        terms["harm"] = harm_loss(enhance(network, well_lit), well_lit)
        if self.config.recovery_weight:
            terms["recovery"] = harm_loss(_as_in_use(network, pictures.shaded)[1], well_lit)
        terms["halo"] = halo_loss(network(pictures.plateaus.image), pictures.plateaus.bright)
        loss = torch.stack([getattr(self.config, f"{name}_weight") * value for name, value in terms.items()]).sum()
        return {"loss": loss, **terms, "brightening": (after - backlit).mean().detach()}

    def _wanted(self, after: Tensor) -> dict[str, Tensor]:
        features = self.prompt_model.encode_images(after)
        terms = {"prompt": self.target.loss(features)}
        if self.light and self.config.bad_light_weight:
            terms["bad_light"] = -self.light.log_probability(features).mean()
        if self.light and self.config.region_weight:
            terms["region"] = -self.light.log_probability(self._parts(after)).mean()
        return terms

    def _parts(self, after: Tensor) -> Tensor:
        """Features NxD of parts of the photos: of four corner windows, or of every location before pooling."""
        if self.config.local == "dense":
            return self.prompt_model.dense_features(after).flatten(0, 1)
        return self.prompt_model.encode_images(regions(after))

    def _identity(self, before: Tensor, after: Tensor) -> Tensor:
        with torch.no_grad():
            original = self.identity_model.identity_features(before)
        return identity_loss(self.identity_model.identity_features(after), original)


def _as_in_use(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """The illumination map of ``image`` and the photo relit by it, its shadows calmed as the enhancer does."""
    light = network(image)
    calm = calm_shadows(image, 1 / light.detach(), noise_levels(image))
    return light, apply_illumination(calm, light)
