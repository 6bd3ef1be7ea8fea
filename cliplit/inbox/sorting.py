"""Sorting unsorted photos by the lighting prior: backlit, well lit, or for a person to decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cliplit.config import Params
from cliplit.errors import ConfigError
from cliplit.photos.codecs import eight_bit, read_photo, to_srgb


@dataclass(frozen=True)
class Sorted:
    """A role, or None where the prior is not sure enough; its confidence in 0..1, and what it sees most."""

    role: str | None
    confidence: float
    text: str


def sort_by_light(paths: list[Path], params: Params) -> list[Sorted]:
    """The role of each photo (small copies do) by guidance's named light: P(well lit), or the sum over backlit texts.

    A photo goes where the prior is at least ``inbox.confidence`` sure; hazy, noisy and other bad light has no role.
    """
    unknown = [text for text in params.inbox.backlit_texts if text not in params.guidance.bad_light]
    if unknown:
        raise ConfigError(
            f"params.yaml: key 'inbox.backlit_texts' has '{unknown[0]}', which guidance.bad_light has not; add it there"
        )
    if not paths:
        return []
    import torch  # seconds: not while Dagster loads the sensor

    from cliplit.enhancer import pick_device
    from cliplit.guidance.light import NamedLight
    from cliplit.guidance.vlm import resolve_models

    model, _ = resolve_models(params.guidance, pick_device(params.device))
    light = NamedLight.from_config(model, params.guidance)
    found = []
    with torch.inference_mode():
        for path in paths:
            pixels = eight_bit(to_srgb(read_photo(path))).pixels
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().to(model.device) / 255
            chances = light.log_probabilities(model.encode_images(image))[0].exp().tolist()
            found.append(_decide(dict(zip(light.captions, chances, strict=True)), params))
    return found


def _decide(chances: dict[str, float], params: Params) -> Sorted:
    roles = {
        "well_lit": chances[params.guidance.positive_text],
        "backlit": sum(chances[text] for text in params.inbox.backlit_texts),
    }
    role = max(roles, key=lambda name: roles[name])
    sure = roles[role] >= params.inbox.confidence
    return Sorted(role if sure else None, round(roles[role], 4), max(chances, key=lambda text: chances[text]))
