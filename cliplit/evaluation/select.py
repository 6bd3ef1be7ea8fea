"""Stage select: the round whose network scores best on held-out photos becomes the model."""

from __future__ import annotations

from pathlib import Path

from cliplit.config import Params
from cliplit.enhancer import Enhancer, pick_device
from cliplit.evaluation import criterion
from cliplit.evaluation.heldout import HeldOut, held_out
from cliplit.files import atomic_path, write_json
from cliplit.guidance.light import NamedLight
from cliplit.guidance.vlm import resolve_models

IDENTITY = "identity"


def run(params: Params, project: Path) -> None:
    """Write artifacts/model/{model.safetensors, choice.json} and artifacts/metrics/select.json."""
    vlm, _ = resolve_models(params.guidance, pick_device(params.device))
    light = NamedLight.from_config(vlm, params.guidance)
    backlit, well_lit = held_out(project, "backlit"), held_out(project, "well_lit")

    def scored(enhanced_backlit: list, enhanced_well_lit: list) -> dict[str, float]:
        return criterion.score(enhanced_backlit, backlit.images, enhanced_well_lit, well_lit.images, light, vlm)

    scores = {IDENTITY: scored(backlit.images, well_lit.images)}
    for name in params.round_names:
        enhancer = Enhancer.load(network_file(project, name), params.device)
        scores[name] = scored(backlit.enhanced(enhancer), well_lit.enhanced(enhancer))
    _write(project, params.round_names, scores, backlit, well_lit)


def network_file(project: Path, round_name: str) -> Path:
    """The network that a round ended with."""
    return project / "artifacts" / "enhancer" / round_name / "network.safetensors"


def best(round_names: tuple[str, ...], scores: dict[str, dict[str, float]]) -> str:
    """The round of the highest score; of equal ones the earlier, because it cost less training."""
    return max(round_names, key=lambda name: (round(scores[name]["score"], 9), -round_names.index(name)))


def _write(
    project: Path,
    round_names: tuple[str, ...],
    scores: dict[str, dict[str, float]],
    backlit: HeldOut,
    well_lit: HeldOut,
) -> None:
    """The chosen network's bytes, the choice with all scores, and the flat metrics."""
    chosen = best(round_names, scores)
    with atomic_path(project / "artifacts" / "model" / "model.safetensors") as temporary:
        temporary.write_bytes(network_file(project, chosen).read_bytes())
    choice = {
        "round": chosen,
        "rounds": list(round_names),
        "better_than_identity": scores[chosen]["score"] > scores[IDENTITY]["score"],
        "scores": {name: rounded(values) for name, values in scores.items()},
        "backlit_photos": len(backlit.names),
        "well_lit_photos": len(well_lit.names),
    }
    write_json(project / "artifacts" / "model" / "choice.json", choice)
    flat = {f"{key}_{name}": value for name, values in scores.items() for key, value in values.items()}
    write_json(
        project / "artifacts" / "metrics" / "select.json",
        rounded(
            {**flat, "score": scores[chosen]["score"], "gain": scores[chosen]["score"] - scores[IDENTITY]["score"]}
        ),
    )


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Numbers at six digits, so that the last bits of different machines make no different files."""
    return {key: round(float(value), 6) for key, value in values.items()}
