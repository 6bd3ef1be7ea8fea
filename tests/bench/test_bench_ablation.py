"""The ablation: on rendered photos with tiny steps, cut off and gone on with, and its table from rows by hand."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cliplit.bench import ablation, ablation_table
from cliplit.bench.variants import variants
from cliplit.cli import cliplit
from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.photos.demo import render_demo
from cliplit.stages import run_stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered photos, curated, with parameters for a second of training."""
    project = tmp_path_factory.mktemp("curated")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    later = {"steps": 1, "learning_rate": 0.001}
    params |= {
        "device": "cpu",
        "curate": params["curate"] | {"long_side": 96},
        "training": params["training"] | {"batch": 2, "prompt_batch": 4, "crop": 48, "crops_per_photo": 1},
        "warm_start": later,
        "prompts": {"steps": 4, "learning_rate": 0.001},
        "enhancer": {"steps": 2, "learning_rate": 0.001},
        "rounds": {"1": {"previous": "0", "prompts": later, "enhancer": later}},
    }
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    render_demo(project, count=8, pairs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPLIT_TRACKING", "off")
        run_stage("curate", None, project)
    return project


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cliplit, ["bench", "ablation", *map(str, arguments)], catch_exceptions=True)


def read(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_round_becomes_a_row_and_what_is_there_is_not_trained_again(curated, tmp_path, monkeypatch):
    out, before = tmp_path / "ablation.csv", sorted(curated.rglob("*"))
    options = ("--project", curated, "--out", out, "--seeds", "0", "--threads", 1, "--only", "kind residual")
    done = call(*options)
    assert done.exit_code == 0, done.output
    rows = read(out)
    assert [(row["variant"], row["rounds"], row["steps"], row["seed"]) for row in rows] == [
        ("kind residual", "0", "3", "0"),
        ("kind residual", "1", "4", "0"),
    ]
    assert all(float(row["score"]) < 0 < float(row["psnr"]) < 60 and 0 < float(row["ssim"]) <= 1 for row in rows)
    assert "| kind residual | 1 | 4 | 1 |" in done.output
    changed = {path.relative_to(curated).parts[0] for path in set(curated.rglob("*")) - set(before)}
    assert changed <= {"work"}, "the project keeps cached features and nothing else"

    lines = out.read_text().splitlines()
    out.write_text("\n".join(lines[:2]) + "\n")  # cut off after round 0
    assert call(*options).exit_code == 0
    again = read(out)
    assert [{**row, "seconds": ""} for row in again] == [{**row, "seconds": ""} for row in rows]
    monkeypatch.setattr(ablation.enhancer, "run", lambda *_: pytest.fail("it was trained again"))
    assert call(*options).exit_code == 0
    assert call("--table", "--out", out).output == call(*options).output


def test_other_parameters_are_other_models(curated, tmp_path):
    base = load_params(curated / "params.yaml")
    one = variants(base, 1.0)[0]
    other = variants(replace(base, guidance=replace(base.guidance, harm_weight=1.0)), 1.0)[0]
    settings = [ablation._settings(variant, curated) for variant in (one, other, replace(one, name="again"))]
    assert settings[0] != settings[1] and settings[0] == settings[2]


def test_variants_change_one_thing_and_share_out_the_weight(curated):
    base = load_params(curated / "params.yaml")
    found = {each.name: each.params for each in variants(base, 0.5)}
    assert len(found) == 16
    whole = base.guidance.prompt_weight + base.guidance.bad_light_weight + base.guidance.region_weight
    for name, params in found.items():
        guidance = params.guidance
        named = guidance.bad_light_weight + guidance.region_weight if guidance.kind == "ours" else 0.0
        assert guidance.prompt_weight + named == pytest.approx(whole), name
        assert guidance.bad_light == base.guidance.bad_light, "the criterion is judged by it"
    assert found["one round"].rounds == {} and found["one round"].enhancer.steps == 2  # (2 + 1) / 2, rounded
    assert found["identity x5"].guidance.identity_weight == 5 * base.guidance.identity_weight
    pair = found["network unet"], found["network grid, as short as unet"]
    assert {each.network.kind for each in pair} == {"unet", "grid"}
    assert pair[0].training == pair[1].training and pair[0].enhancer == pair[1].enhancer


def test_a_variant_that_diverges_costs_itself_only(curated, tmp_path, monkeypatch):
    def diverge(params, *_):
        if params.guidance.kind == "latent":
            raise UserError("training diverged")
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation.prompts, "run", diverge)
    chosen = ("--project", curated, "--out", tmp_path / "o.csv", "--seeds", "0", "--only")
    assert "there yet" in str(call(*chosen, "kind latent").exception)
    assert call(*chosen, "kind residual").exit_code == 1
    assert not list(Path(tmp_path).glob("o.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "kind x"), r"--only kind x matches no variant; they are ours, kind prompts"),
        (("--seeds", "0,a"), r"--seeds 0,a: not numbers with commas"),
        (("--table",), r"no models there yet"),
    ],
)
def test_wrong_options_end_in_one_sentence(curated, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        raise call("--project", curated, "--out", tmp_path / "o.csv", *options).exception


def test_a_project_without_curated_photos_is_named(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(UserError, match="not curated yet; run `cliplit stage curate` there first"):
        raise call("--project", tmp_path, "--out", tmp_path / "o.csv").exception


def model(variant: str, seed: int, rounds: int, score: float, psnr: float | str) -> ablation.Row:
    row = dict.fromkeys(ablation.COLUMNS, 0) | {"variant": variant, "seed": seed, "rounds": rounds, "settings": "h0"}
    return row | {"score": score, "score_identity": -3.9, "psnr": psnr, "ssim": "", "harm_db": 40.0, "clipped_ratio": 1}


def test_the_table_gives_means_over_seeds_and_the_rank_correlation_by_hand():
    rows = [model("ours", seed, number, -1.0 + 0.1 * number, 18.0 + seed) for seed in (0, 1) for number in (0, 1)]
    rows += [model("other", seed, 0, -2.0 - seed, 15.0) for seed in (0, 1)]
    text = ablation_table.markdown(rows)
    assert "| ours | 1 | 0 | 2 | 0 | -0.900 [-0.900, -0.900] | 40.0 [40.0, 40.0] | 1.00 [1.00, 1.00] | 18.50" in text
    assert "photos as taken: -3.900" in text and "SSIM over" not in text
    assert text.index("| ours | 0") < text.index("| ours | 1") < text.index("| other | 0")
    value, low, high, count = ablation_table.rank_correlation(rows, "psnr")
    # Ranks of the score: 3.5 5.5 3.5 5.5 2 1, of PSNR: 3.5 3.5 5.5 5.5 1.5 1.5.
    assert count == 6 and value == pytest.approx(12 / (16.5 * 16) ** 0.5, abs=1e-6) and low <= value <= high


def test_a_criterion_that_ranks_as_psnr_does_has_rank_correlation_one():
    rows = [model(f"v{number}", 0, 0, number, 10 + number**2) for number in range(6)]
    assert ablation_table.rank_correlation(rows, "psnr")[:2] == pytest.approx((1.0, 1.0))
    turned = [row | {"psnr": -float(row["psnr"])} for row in rows]
    assert ablation_table.rank_correlation(turned, "psnr")[0] == pytest.approx(-1.0)
    assert ablation_table.rank_correlation(rows[:3], "psnr") is None
    assert ablation_table.rank_correlation([row | {"psnr": 1.0} for row in rows], "psnr") is None
