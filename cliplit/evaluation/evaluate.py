"""Stage evaluate: the chosen model on held-out photos, and on pairs where there are any, beside trivial baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cliplit.config import Params
from cliplit.enhancer import Enhancer, pick_device
from cliplit.errors import UserError
from cliplit.evaluation import compare, criterion, metrics
from cliplit.evaluation.gallery import write_gallery
from cliplit.evaluation.heldout import HeldOut, held_out, manifest, pair_paths
from cliplit.files import write_json, write_text
from cliplit.guidance.light import NamedLight
from cliplit.guidance.vlm import resolve_models

METHODS = ("input", "ours", "fixed_gamma", "gamma_to_mean")


def run(params: Params, project: Path) -> None:
    """Write artifacts/evaluation/{per_photo.csv, gallery.json, photos/} and artifacts/metrics/evaluation.json."""
    model = project / "artifacts" / "model" / "model.safetensors"
    if not model.is_file():
        raise UserError(f"{model}: there is no such file; run the stage select first")
    enhancer = Enhancer.load(model, params.device)
    table = measure(params, project, enhancer)
    flat = {**figures(table), "gamma_target": round(well_lit_level(project), 6)}
    write_json(project / "artifacts" / "metrics" / "evaluation.json", flat)
    write_text(project / "artifacts" / "evaluation" / "per_photo.csv", table.to_csv(index=False, float_format="%.5f"))
    write_gallery(table, enhancer, project)


def measure(params: Params, project: Path, enhancer: Enhancer) -> pd.DataFrame:
    """A row for each held-out photo and each pair, under any network; ``figures`` sums them up, "score" among them."""
    vlm, _ = resolve_models(params.guidance, pick_device(params.device))
    light = NamedLight.from_config(vlm, params.guidance)
    tables = [
        backlit_table(held_out(project, "backlit"), enhancer, light, vlm),
        well_lit_table(held_out(project, "well_lit"), enhancer),
        pairs_table(pair_paths(project), enhancer, well_lit_level(project)),
    ]
    return pd.concat([each for each in tables if len(each)], ignore_index=True)


def well_lit_level(project: Path) -> float:
    """Mean level (0..1) of the well-lit photos that were trained on: what gamma_to_mean aims at."""
    table = manifest(project)
    return float(table[(table["role"] == "well_lit") & (table["split"] == "train")]["mean_level"].mean())


def backlit_table(
    photos: HeldOut, enhancer: Enhancer, light: criterion.Light, vlm: criterion.ImageEncoder
) -> pd.DataFrame:
    """A row for each held-out backlit photo: the criterion's terms, exposure and clipping before and after."""
    enhanced = photos.enhanced(enhancer)
    before = criterion.judge(photos.images, photos.images, light, vlm)
    after = criterion.judge(enhanced, photos.images, light, vlm)
    return pd.DataFrame(
        {
            "photo": photos.names,
            "set": "backlit",
            **_exposure(photos.images, enhanced),
            "light_before": [each.light for each in before],
            "light_after": [each.light for each in after],
            "structure": [each.structure for each in after],
            "clipping_growth": [each.clipping for each in after],
            "value_before": [each.value for each in before],
            "value_after": [each.value for each in after],
        }
    )


def well_lit_table(photos: HeldOut, enhancer: Enhancer) -> pd.DataFrame:
    """A row for each held-out well-lit photo: how far the model moves what needed nothing."""
    enhanced = photos.enhanced(enhancer)
    harm = [metrics.psnr(y, x) for y, x in zip(enhanced, photos.images, strict=True)]
    return pd.DataFrame(
        {"photo": photos.names, "set": "well_lit", **_exposure(photos.images, enhanced), "harm_psnr_db": harm}
    )


def pairs_table(pairs: Sequence[tuple[str, Path, Path]], enhancer: Enhancer, target: float) -> pd.DataFrame:
    """A row for each pair: PSNR and SSIM against the reference of the input, of ours and of the baselines."""
    rows = []
    for name, backlit, reference in pairs:
        x, truth = metrics.load(backlit), metrics.load(reference)
        if x.shape != truth.shape or min(x.shape[:2]) < 7:
            raise UserError(f"{reference}: must have the shape of {backlit}, at least 7 px; replace or remove the pair")
        results = {
            "input": x,
            "ours": enhancer.enhance(x),
            "fixed_gamma": compare.gamma(x, compare.FIXED_GAMMA),
            "gamma_to_mean": compare.gamma_to_mean(x, target),
        }
        row: dict[str, object] = {"photo": name, "set": "pairs"}
        row |= {key: values[0] for key, values in _exposure([x], [results["ours"]]).items()}
        for method, y in results.items():
            row |= {f"psnr_{method}": metrics.psnr(y, truth), f"ssim_{method}": metrics.ssim(y, truth)}
        rows.append(row)
    return pd.DataFrame(rows)


def figures(table: pd.DataFrame) -> dict[str, float]:
    """Flat figures: ``score`` first of all, and for every mean NAME also NAME_low, NAME_high (95 %) and NAME_n."""
    backlit, well_lit, pairs = (table[table["set"] == name] for name in ("backlit", "well_lit", "pairs"))
    columns = (backlit[name].astype(float) for name in ("light_after", "structure", "clipping_growth", "value_after"))
    judgements = [criterion.Judgement(*values) for values in zip(*columns, strict=True)]
    terms = criterion.summary(judgements, list(well_lit["harm_psnr_db"]))
    untouched = float(backlit["value_before"].mean())
    flat = {"score": terms["score"], "score_identity": untouched, "score_gain": terms["score"] - untouched}
    flat |= {"harm_penalty": terms["harm"], "pairs_n": float(len(pairs))}
    flat |= _means("", backlit, ["light_before", "light_after", "structure", "level_before", "level_after"])
    flat |= _means("", backlit, ["clipped_high_before", "clipped_high_after"])
    flat |= _means("", backlit, ["clipped_low_before", "clipped_low_after"])
    flat |= _interval("value_gain", backlit["value_after"] - backlit["value_before"])
    flat |= _interval("harm_psnr_db", well_lit["harm_psnr_db"])
    if len(pairs):
        flat |= _means("pairs_", pairs, [f"{metric}_{method}" for metric in ("psnr", "ssim") for method in METHODS])
        flat |= _interval("pairs_psnr_gain", pairs["psnr_ours"] - pairs["psnr_input"])
    return {key: round(value, 6) for key, value in flat.items()}


def _means(prefix: str, table: pd.DataFrame, columns: list[str]) -> dict[str, float]:
    parts = [_interval(prefix + column, table[column]) for column in columns]
    return {key: value for part in parts for key, value in part.items()}


def _interval(name: str, values: pd.Series) -> dict[str, float]:
    interval = compare.bootstrap(values.to_numpy(dtype=float))
    ends = {f"{name}_low": interval.low, f"{name}_high": interval.high, f"{name}_n": float(interval.n)}
    return {name: interval.mean, **ends}


def _exposure(before: Sequence, after: Sequence) -> dict[str, list[float]]:
    """Mean level and clipped shares, before and after."""
    parts = (
        ("level", metrics.mean_level),
        ("clipped_high", metrics.clipped_high),
        ("clipped_low", metrics.clipped_low),
    )
    return {
        f"{name}_{when}": [measure(image) for image in images]
        for name, measure in parts
        for when, images in (("before", before), ("after", after))
    }
