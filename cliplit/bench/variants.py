"""What the ablation compares: the default, and one choice changed at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cliplit.config import Params, PhaseConfig

UNET = "network unet"
UNET_SCALE = 0.1  # of the steps: one costs seconds on a CPU
UNET_CROP = 96  # px
NOISE_SHARE = 0.3


@dataclass(frozen=True)
class Variant:
    """A name, and the parameters that it trains under."""

    name: str
    params: Params


def variants(base: Params, scale: float) -> list[Variant]:
    """The default first, then one choice changed at a time; all steps times ``scale``."""
    whole = base.guidance
    total = whole.prompt_weight + whole.bad_light_weight + whole.region_weight

    def guided(**changes: Any) -> Params:
        return replace(base, guidance=replace(whole, **changes))

    # What a variant leaves out gives its weight to what is left, else the identity term would hold it back more.
    kinds = ("prompts", "latent", "residual", "residual_shifted")
    chosen = {
        "ours": base,
        **{f"kind {kind}": guided(kind=kind, prompt_weight=total) for kind in kinds},
        "one round": _in_one_round(base),
        "identity x0.2": guided(identity_weight=whole.identity_weight * 0.2),
        "identity x5": guided(identity_weight=whole.identity_weight * 5),
        "no regions": guided(region_weight=0.0, bad_light_weight=whole.bad_light_weight + whole.region_weight),
        "no bad light": guided(bad_light_weight=0.0, prompt_weight=whole.prompt_weight + whole.bad_light_weight),
        "local dense": guided(local="dense"),
        "no halo term": guided(halo_weight=0.0),
        "no recovery": guided(recovery_weight=0.0),
        "camera noise": replace(base, training=replace(base.training, noise_share=NOISE_SHARE)),
    }
    scaled = [Variant(name, _scaled(params, scale)) for name, params in chosen.items()]
    small = replace(base.training, crop=min(UNET_CROP, base.training.crop), crops_per_photo=1)
    unet = replace(base, network=replace(base.network, kind="unet"), training=small)
    grid = replace(base, training=small)
    return [
        *scaled,
        Variant("network grid, as short as unet", _scaled(grid, scale * UNET_SCALE)),
        Variant(UNET, _scaled(unet, scale * UNET_SCALE)),
    ]


def _in_one_round(params: Params) -> Params:
    """No refinement, and as many steps of both kinds as with it."""

    def total(first: PhaseConfig, later: list[PhaseConfig]) -> PhaseConfig:
        return replace(first, steps=first.steps + sum(phase.steps for phase in later))

    return replace(
        params,
        prompts=total(params.prompts, [each.prompts for each in params.rounds.values()]),
        enhancer=total(params.enhancer, [each.enhancer for each in params.rounds.values()]),
        rounds={},
    )


def _scaled(params: Params, scale: float) -> Params:
    def phase(config: PhaseConfig) -> PhaseConfig:
        return replace(config, steps=max(1, round(config.steps * scale)))

    rounds = {
        name: replace(each, prompts=phase(each.prompts), enhancer=phase(each.enhancer))
        for name, each in params.rounds.items()
    }
    warm, first, network = phase(params.warm_start), phase(params.prompts), phase(params.enhancer)
    return replace(params, warm_start=warm, prompts=first, enhancer=network, rounds=rounds)
