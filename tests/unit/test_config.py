"""params.yaml: what is wrong with it is said in one sentence that names the file, the key and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cliplit.config import GuidanceConfig, ModelConfig, load_params
from cliplit.errors import ConfigError, UserError

SHIPPED = Path(__file__).parents[2] / "params.yaml"
REMOVED = object()
ROUND = {
    "previous": "0",
    "prompts": {"steps": 1, "learning_rate": 0.1},
    "enhancer": {"steps": 1, "learning_rate": 0.1},
}


def changed(tmp_path: Path, dotted: str, value: Any) -> Path:
    """The shipped params.yaml with one value changed or removed."""
    params = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    *parents, last = dotted.split(".")
    inner = params
    for parent in parents:
        inner = inner[parent]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return path


def sentence(path: Path) -> str:
    """What load_params says about ``path``, after the file's name."""
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_the_shipped_file_is_valid_and_its_rounds_are_in_order() -> None:
    params = load_params(SHIPPED)
    assert params.round_names == ("0", "1", "2")
    assert params.rounds["2"].previous == "1"
    assert isinstance(params.guidance, GuidanceConfig) and params.guidance.prompt_model is None


@pytest.mark.parametrize(
    ("dotted", "said"),
    [
        ("sed", "unknown key 'sed'; did you mean 'seed'?"),
        ("curate.longside", "unknown key 'curate.longside'; did you mean 'long_side'?"),
        (
            "rounds.1.enhancer.lerning_rate",
            "unknown key 'rounds.1.enhancer.lerning_rate'; did you mean 'learning_rate'?",
        ),
        ("rounds.2.prompts.qqq", "unknown key 'rounds.2.prompts.qqq'; the keys here are steps, learning_rate"),
        ("rounds.1.zzz", "unknown key 'rounds.1.zzz'; the keys here are previous, prompts, enhancer"),
        ("network.zzz", "unknown key 'network.zzz'; the keys here are kind, max_gain"),
    ],
)
def test_a_misspelt_key_is_named_with_what_was_meant(tmp_path: Path, dotted: str, said: str) -> None:
    assert sentence(changed(tmp_path, dotted, 1)) == said


def test_a_misspelt_key_is_named_though_the_right_one_is_missing_then(tmp_path: Path) -> None:
    path = changed(tmp_path, "enhancer", {"steps": 5, "lerning_rate": 0.1})
    assert sentence(path) == "unknown key 'enhancer.lerning_rate'; did you mean 'learning_rate'?"


def test_keys_of_a_model_are_known_though_none_is_allowed_there(tmp_path: Path) -> None:
    path = changed(tmp_path, "guidance.prompt_model", {"nam": "x", "weights": "y"})
    assert sentence(path) == "unknown key 'guidance.prompt_model.nam'; did you mean 'name'?"
    path = changed(tmp_path, "guidance.prompt_model", {"name": "x", "weights": "y"})
    assert load_params(path).guidance.prompt_model == ModelConfig(name="x", weights="y")


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        ("enhancer.learning_rate", -1, "is -1, but input should be greater than 0"),
        ("rounds.2.enhancer.learning_rate", -0.1, "is -0.1, but input should be greater than 0"),
        ("enhancer.learning_rate", float("nan"), "is nan, but input should be a finite number"),
        ("enhancer.learning_rate", "fast", "is 'fast', but input should be a valid number"),
        ("prompts.steps", 0, "is 0, but input should be greater than or equal to 1"),
        ("prompts.steps", 1.5, "is 1.5, but input should be a valid integer"),
        ("device", "gpu", "is 'gpu', but input should be 'auto', 'cpu', 'cuda' or 'mps'"),
        ("network.kind", "cnn", "is 'cnn', but input should be 'grid' or 'unet'"),
        ("network.max_gain", 1, "is 1, but input should be greater than 1"),
        ("curate.validation_fraction", 0.95, "is 0.95, but input should be less than 0.9"),
        ("guidance.bad_light", "haze", "is 'haze', but input should be a list"),
        ("guidance.bad_light", [], "is [], but it needs at least one entry"),
        ("rounds", [1], "is [1], but input should be a mapping of keys to values"),
        ("promotion.min_gain", -1, "is -1, but input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(tmp_path: Path, dotted: str, value: Any, said: str) -> None:
    text = sentence(changed(tmp_path, dotted, value))
    assert text.startswith(f"key '{dotted}' {said}") and text.endswith("; correct the value")


@pytest.mark.parametrize("dotted", ["seed", "enhancer.steps", "rounds.1.previous"])
def test_a_missing_key_is_named(tmp_path: Path, dotted: str) -> None:
    assert sentence(changed(tmp_path, dotted, REMOVED)) == f"key '{dotted}' is missing; add it"


def test_a_section_without_keys_is_told_which_it_needs(tmp_path: Path) -> None:
    said = "key 'enhancer' is None, but it needs the keys steps, learning_rate; add them"
    assert sentence(changed(tmp_path, "enhancer", None)) == said


def test_a_round_starts_from_one_before_it(tmp_path: Path) -> None:
    said = "key 'rounds.1.previous' is '2', but no round of that name stands before it; use one of 0"
    assert sentence(changed(tmp_path, "rounds.1.previous", "2")) == said
    own = "key 'rounds.2.previous' is '2', but no round of that name stands before it; use one of 0, 1"
    assert sentence(changed(tmp_path, "rounds.2.previous", "2")) == own


def test_rounds_have_usable_names(tmp_path: Path) -> None:
    for name in ("0", "a/b", "a b", ""):
        assert f"key 'rounds.{name}' is not usable" in sentence(changed(tmp_path, "rounds", {name: ROUND}))
    assert "key 'rounds.1' is not text; write it in quotes" in sentence(changed(tmp_path, "rounds", {1: ROUND}))


def test_training_without_refinement_rounds_is_allowed(tmp_path: Path) -> None:
    assert load_params(changed(tmp_path, "rounds", {})).round_names == ("0",)


def test_what_is_no_params_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert "there is no such file" in sentence(path)
    path.write_text("seed: [1\n", encoding="utf-8")
    assert sentence(path).startswith("not readable as YAML (")
    path.write_bytes(b"\xff\xfe\x00\x81")
    assert sentence(path).startswith("not readable as YAML (")
    path.write_text("just words", encoding="utf-8")
    assert "found str" in sentence(path)
    path.write_text("", encoding="utf-8")
    assert "found NoneType" in sentence(path)


def test_config_errors_are_for_users() -> None:
    assert issubclass(ConfigError, UserError)
