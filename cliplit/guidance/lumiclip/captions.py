"""What a photographer would say of a photo's light: captions for known severities of known defects."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from cliplit.guidance.lumiclip.conditions import DEFECTS

GOOD = ("well-lit", "well exposed", "evenly lit", "clear, well-lit")
_WORDS: dict[str, tuple[str, ...]] = {
    "backlit": ("backlit", "against the light", "silhouetted", "shot into the light"),
    "underexposed": ("underexposed", "dark", "too dark", "low-light"),
    "overexposed": ("overexposed", "too bright", "washed out", "blown out"),
    "hazy": ("hazy", "foggy", "misty"),
    "noisy": ("noisy", "grainy"),
    "low contrast": ("low contrast", "dull", "flat"),
    "oversaturated": ("oversaturated", "garish"),
    "color cast": ("tinted", "off-color"),
}
_TEMPLATES = ("a {} photo", "a {} picture", "a {} image", "{} photo", "a photo that is {}", "a {} photograph")
_TAILS = {
    "hazy": "with haze",
    "noisy": "with noise",
    "low contrast": "with low contrast",
    "oversaturated": "with garish colors",
}


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption may hold, sorted: all that the text encoder has learned."""
    texts = [*GOOD, *_TEMPLATES, *_TAILS.values(), *(text for options in _WORDS.values() for text in options)]
    texts.append("severely, warm, cool, green, magenta color cast")
    return tuple(sorted({word for text in texts for word in re.findall(r"[a-z-]+", text)}))


def article(text: str) -> str:
    """``a`` before a vowel becomes ``an``."""
    return "an" + text[1:] if text.startswith("a ") and text[2] in "aeiou" else text


def caption_bank(generator: torch.Generator | None = None) -> list[str]:
    """One caption per class, good light first, then DEFECTS; plainly worded without a generator, else at random."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), (1,), generator=generator))] if generator else options[0]

    words = [GOOD, *(_WORDS[name] for name in DEFECTS)]
    return [article(pick(_TEMPLATES).format(pick(options))) for options in words]


def bank_targets(severity: Tensor) -> Tensor:
    """Probability B×(1+D) of each caption of the bank: good light is what all defects leave over.

    good = Π(1 − s_i), and the rest is shared in proportion to the severities s.
    """
    good = (1 - severity).prod(1, keepdim=True)
    shares = severity / severity.sum(1, keepdim=True).clamp_min(1e-6)
    return torch.cat([good, shares * (1 - good)], dim=1)


def compose(severity: Tensor, tint: Tensor, generator: torch.Generator) -> list[str]:
    """One sentence a photo that names its main light and what else is wrong with it."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), (1,), generator=generator))]

    sentences = []
    for row, gains in zip(severity, tint, strict=True):
        value = dict(zip(DEFECTS, row.tolist(), strict=True))
        light = max(("backlit", "underexposed", "overexposed"), key=lambda name: value[name])
        head = pick(_WORDS[light]) if value[light] > 0.4 else pick(GOOD)
        degree = "severely " if value[light] > 0.95 and head in {"underexposed", "overexposed", "backlit"} else ""
        tails = [text for name, text in _TAILS.items() if value[name] > 0.5]
        if value["color cast"] > 0.5:
            tails.append(f"with a {_tint_name(gains)} color cast")
        sentences.append(", ".join([article(pick(_TEMPLATES).format(degree + head)), *tails]))
    return sentences


def _tint_name(gains: Tensor) -> str:
    red, green, blue = gains.tolist()
    if abs(red - blue) > 0.4:
        return "warm" if red > blue else "cool"
    return "green" if green > (red + blue) / 2 else "magenta"
