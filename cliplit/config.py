"""params.yaml as frozen dataclasses, validated once; errors name the key and the fix.

A number stands in params.yaml, or in a default here, never in both: the fields below that have a default are the
ones params.yaml may leave out.
"""

from __future__ import annotations

import difflib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cliplit.errors import ConfigError

#: What pydantic says, and what somebody who edits YAML understands.
_PLAIN = {
    "valid tuple": "list",
    "valid dictionary": "mapping of keys to values",
    "tuple should have at least 1 item after validation, not 0": "it needs at least one entry",
}
_strict = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_strict)
class CurateConfig:
    """How raw photos become a dataset; lengths in pixels, fractions in 0..1."""

    long_side: Annotated[int, Field(ge=64)]
    duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)]


@dataclass(frozen=True, config=_strict)
class ModelConfig:
    """One open_clip model: its name there, and its weights (a pretrained tag, or a local file)."""

    name: str
    weights: str


@dataclass(frozen=True, config=_strict)
class GuidanceConfig:
    """What good light looks like, and how much each term of the enhancement loss counts."""

    kind: Literal["prompts", "latent", "residual", "residual_shifted", "ours"]
    local: Literal["windows", "dense"]
    latent_learning_rate: Positive
    preset: Literal["lumiclip", "paper"]
    prompt_words: Annotated[int, Field(ge=1, le=70)]
    positive_text: str
    negative_text: str | None
    bad_light: Annotated[tuple[str, ...], Field(min_length=1)]
    prompt_weight: NonNegative
    bad_light_weight: NonNegative
    region_weight: NonNegative
    identity_weight: NonNegative
    smoothness_weight: NonNegative
    harm_weight: NonNegative
    recovery_weight: NonNegative
    halo_weight: NonNegative
    prompt_model: ModelConfig | None = None
    identity_model: ModelConfig | None = None


@dataclass(frozen=True, config=_strict)
class NetworkConfig:
    """Which network predicts the illumination map, and the bound of the gain it may apply."""

    kind: Literal["grid", "unet"]
    max_gain: Annotated[float, Field(gt=1, le=64)]


@dataclass(frozen=True, config=_strict)
class TrainingConfig:
    """What all rounds share."""

    batch: Count
    prompt_batch: Count
    crops_per_photo: Count
    crop: Annotated[int, Field(ge=32)]
    noise_share: Annotated[float, Field(ge=0, le=1)]
    checkpoint_steps: Count
    weight_decay: NonNegative


@dataclass(frozen=True, config=_strict)
class PhaseConfig:
    """Length and step size of one training phase."""

    steps: Count
    learning_rate: Positive


@dataclass(frozen=True, config=_strict)
class RoundConfig:
    """One refinement round: the round it starts from, and its two phases."""

    previous: str
    prompts: PhaseConfig
    enhancer: PhaseConfig


@dataclass(frozen=True, config=_strict)
class PromotionConfig:
    """When a challenger becomes champion: ``metric`` is a key of the evaluation's metrics, higher is better.

    Every limit is a gate of cliplit.promotion.gates.
    """

    mode: Literal["auto", "manual"]
    metric: str
    min_gain: NonNegative
    min_harmless_db: NonNegative
    max_harmed_share: Annotated[float, Field(ge=0, le=1)]
    max_ms_per_megapixel: Positive
    max_megabytes: Positive


@dataclass(frozen=True, config=_strict)
class DriftConfig:
    """When incoming photos are called unlike those that training has seen."""

    min_photos: Count
    exposure_distance: NonNegative
    feature_distance: NonNegative
    false_alarm: Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True, config=_strict)
class InboxConfig:
    """Where new photos arrive, when they count as arrived, and how sure the prior must be to sort them."""

    path: Annotated[str, Field(min_length=1)]
    confidence: Annotated[float, Field(ge=0.5, le=1)]
    settle_seconds: NonNegative
    after: Literal["move", "delete"]
    backlit_texts: Annotated[tuple[str, ...], Field(min_length=1)]
    drift: DriftConfig
    options: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, config=_strict)
class RetrainConfig:
    """When training starts by itself, and when it goes on from the champion (fractions in 0..1)."""

    min_new_photos: Count
    warm_start_below: Annotated[float, Field(ge=0, le=1)]
    warm_start_steps: Annotated[float, Field(gt=0, le=1)]
    schedule: str


@dataclass(frozen=True, config=_strict)
class Params:
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    curate: CurateConfig
    guidance: GuidanceConfig
    network: NetworkConfig
    training: TrainingConfig
    warm_start: PhaseConfig
    prompts: PhaseConfig
    enhancer: PhaseConfig
    rounds: dict[str, RoundConfig]
    promotion: PromotionConfig
    inbox: InboxConfig
    retrain: RetrainConfig

    @property
    def round_names(self) -> tuple[str, ...]:
        """All rounds in training order, "0" first."""
        return ("0", *self.rounds)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate ``path``; raises ConfigError with one sentence naming the key and the fix."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; run this in a folder with a params.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); fix that line") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys with values, found {type(raw).__name__}; start from the shipped file")
    try:
        params = TypeAdapter(Params).validate_python(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(error)}") from None
    _check_chain(path, params)
    return params


def _sentence(error: ValidationError) -> str:
    """The first fault of ``error`` in plain words; a misspelt key also makes a 'missing' fault, so it goes first."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "unexpected_keyword_argument")
    fault = faults[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "unexpected_keyword_argument":
        known = _known_keys(fault["loc"][:-1])
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"the keys here are {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if fault["type"] in {"missing", "missing_argument"}:
        return f"key '{key}' is missing; add it"
    if fault["loc"][-1] == "[key]":
        return f"key '{key.removesuffix('.[key]')}' is not text; write it in quotes, \"{fault['input']}\""
    if fault["type"] == "dataclass_type":
        needed = ", ".join(_known_keys(fault["loc"]))
        return f"key '{key}' is {fault['input']!r}, but it needs the keys {needed}; add them"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    for ours, plain in _PLAIN.items():
        message = message.replace(ours, plain)
    return f"key '{key}' is {fault['input']!r}, but {message}; correct the value"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Field names of the dataclass that ``location`` (a path of keys into Params) leads to."""
    kind: Any = Params
    for part in location:
        if is_dataclass(kind):
            kind = _without_none(get_type_hints(kind).get(str(part)))
        else:
            kind = get_args(kind)[-1] if get_args(kind) else None
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _without_none(kind: Any) -> Any:
    """X for the type X | None, every other type as it is."""
    options = get_args(kind)
    return next(option for option in options if option is not type(None)) if type(None) in options else kind


def _check_chain(path: Path, params: Params) -> None:
    """Every round must start from one that stands before it."""
    seen = {"0"}
    for name, round_config in params.rounds.items():
        if name == "0" or not name.isalnum():
            raise ConfigError(f'{path}: key \'rounds.{name}\' is not usable as a round\'s name; use "1", "2", ...')
        if round_config.previous not in seen:
            raise ConfigError(
                f"{path}: key 'rounds.{name}.previous' is '{round_config.previous}', but no round of that name "
                f"stands before it; use one of {', '.join(sorted(seen))}"
            )
        seen.add(name)
