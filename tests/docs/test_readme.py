"""README.md and docs/ are true: what they tell people to type is run here, in a small project, or by a named test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from handbook import ROOT, commands, fenced, inline_commands, instructions, links, pages, tracked

from cliplit.config import load_params
from cliplit.photos.demo import render_photo

README = ROOT / "README.md"


@dataclass(frozen=True)
class Shown:
    """A command of the documentation: how it is run here, how it ends, and what it says then."""

    command: str
    says: str = ""
    code: int = 0
    runs: str | None = None  # what is run in its place, provably the same
    makes: str | None = None


MAKE = "make -o .venv/installed"  # this interpreter's environment is the one that `make install` would make
FOLLOWED = (  # in the order in which they are run
    Shown("make demo", "enhanced/", runs=f"{MAKE} demo", makes="enhanced/demo_pair_001.jpg"),
    Shown("make install", runs=f"{MAKE} install"),
    Shown(". .venv/bin/activate"),
    Shown("make train", "of them were up to date", runs=f"{MAKE} train"),
    Shown("dvc repro", "up to date"),
    Shown("dvc status", "up to date"),
    Shown("dvc metrics show", "artifacts/metrics/evaluation.json"),
    Shown("dvc plots show", "html"),
    Shown("cliplit models list", "champion"),
    Shown("cliplit enhance photo.jpg -o relit", "1 photo relit into relit", makes="relit/photo.jpg"),
    Shown("cliplit enhance holiday -o relit --strength 0.7", "2 photos relit into relit", makes="relit/b.jpg"),
    Shown("cliplit enhance holiday -o relit --resume", "2 photos done before"),
    Shown("cliplit enhance - -o - < photo.jpg > better.jpg", "1 photo relit into -", makes="better.jpg"),
    Shown("cliplit photos ingest", "took in no new photo", makes="data/inbox/unsorted"),
    Shown("cliplit models rollback", "there is no previous champion to go back to", code=2),
    Shown(
        "cliplit photos import --backlit my/backlit --well-lit my/well_lit",
        "imported",
        makes="data/photos/well_lit",
    ),
    Shown("cliplit photos demo", "photos of your own lie in", code=2),
)
ELSEWHERE = {  # command: the test that runs it
    "cliplit video holiday.mp4 -o relit.mp4 --preview now.png": (
        "tests/video/test_video_command.py::test_the_command_of_the_docs_writes_film_and_preview"
    ),
    "cliplit bench video": "tests/video/test_video_command.py::test_the_bench_measures_speed_and_steadiness",
    "cliplit models export --format onnx -o cliplit.onnx": (
        "tests/export/test_export_graphs.py::test_onnx_is_the_network_at_any_size"
    ),
    "cliplit models export --format lut --photo photo.jpg -o photo.cube": (
        "tests/export/test_export_lut.py::test_ffmpeg_reads_the_file_as_we_mean_it"
    ),
    "cliplit serve": "tests/serve/test_serve_process.py::test_what_is_in_flight_is_answered_before_the_end",
    "cliplit serve --port 8000": (
        "tests/serve/test_serve_process.py::test_the_example_of_the_documentation_and_what_is_kept_of_a_photo"
    ),
    "cliplit bench load": "tests/serve/test_serve_load.py::test_a_small_run_gives_all_figures_and_shows_no_leak",
    "dvc remote add -d team s3://bucket/cliplit": (
        "tests/remote/test_s3.py::test_publish_to_s3_and_restore_in_a_fresh_clone"
    ),
    "dvc remote modify team endpointurl https://s3.example.com": (
        "tests/remote/test_s3.py::test_publish_to_s3_and_restore_in_a_fresh_clone"
    ),
    "dvc pull": "tests/remote/test_publish.py::test_a_fresh_clone_has_photos_model_and_champion",
    "python -m pipelines.train publish": "tests/remote/test_publish.py::test_the_command_publishes_too",
    "make test": "tests/docs/test_readme.py::test_make_test_is_pytest",
    "make lint": "tests/docs/test_lint.py::test_lint_is_green",
    "cliplit bench speed --quick": "tests/bench/test_bench_speed.py::test_one_command_measures_everything",
    "cliplit bench quality": "tests/bench/test_bench_quality.py::test_one_command_measures_all_methods_on_all_sets",
    "make ui": "tests/docs/test_readme.py::test_make_ui_is_what_the_tests_of_processes_start",
    "dvc exp run -S enhancer.learning_rate=0.002": (
        "tests/graph/test_pins.py::test_hydra_overrides_parse_for_dvc_experiments"
    ),
}


def small(params: dict[str, Any]) -> dict[str, Any]:
    """``params`` without refinement (tests/stages has rounds) and with as few steps as make a model."""
    phase = {"steps": 3, "learning_rate": 0.0005}
    return params | {
        "device": "cpu",
        "curate": params["curate"] | {"long_side": 128},
        "training": params["training"] | {"batch": 2, "prompt_batch": 8, "crops_per_photo": 1, "crop": 64},
        "warm_start": phase,
        "prompts": phase | {"steps": 20},
        "enhancer": phase | {"steps": 40, "learning_rate": 0.004},  # enough to pass the gate `beats_champion`
        "rounds": {},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the working tree's files, small parameters, and this interpreter's environment as its .venv."""
    path = tmp_path_factory.mktemp("clone") / "cliplit"
    for file in tracked():
        if file.relative_to(ROOT).parts[0] not in {"tests", "docs"}:
            target = path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    params = yaml.safe_load((path / "params.yaml").read_text(encoding="utf-8"))
    (path / "params.yaml").write_text(yaml.safe_dump(small(params), sort_keys=False), encoding="utf-8")
    for command in (["init"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-m", "a"]):
        subprocess.run(["git", *command], cwd=path, check=True, capture_output=True)
    (path / ".venv").symlink_to(sys.prefix)
    for role, folder in (("backlit", "my/backlit"), ("well_lit", "my/well_lit")):
        for index in range(3):
            save(path / folder / f"{role[0]}{index}.jpg", render_photo(role, 1, index))
    save(path / "photo.jpg", render_photo("backlit", 2, 0))
    save(path / "holiday" / "a.jpg", render_photo("backlit", 2, 1))
    save(path / "holiday" / "b.jpg", render_photo("backlit", 2, 2))
    return path


def save(path: Path, pixels: np.ndarray) -> None:
    from cliplit.photos.codecs import save_jpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    save_jpeg(path, pixels)


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``command`` in a shell, as somebody types it who has activated the environment."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    environment |= {
        "PATH": os.pathsep.join((str(cwd / ".venv" / "bin"), os.environ["PATH"])),
        "DEMO": "--count 10 --pairs 2",
        "DVC_SITE_CACHE_DIR": str(cwd / ".dvc" / "site"),
        "OMP_NUM_THREADS": "2",
    }
    return subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)


_FOREIGN = {"DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CLIPLIT_PROJECT", "CLIPLIT_TRACKING", "MAKEFLAGS", "MAKELEVEL"}


def recipe(target: str) -> list[str]:
    """The lines that ``make target`` runs once everything is installed."""
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name not in {*_FOREIGN, "DEMO"}},
    )
    return [line.strip() for line in done.stdout.splitlines() if line.startswith(".venv/")]


def test_every_command_of_the_documentation_is_run_by_a_test() -> None:
    known = {shown.command for shown in FOLLOWED} | set(ELSEWHERE)
    shown = {command for page in instructions() for command in commands(page)} | set(inline_commands(README))
    assert sorted(shown - known) == []
    assert sorted(known - shown - {"cliplit photos demo"}) == [], "no longer in the documentation"


@pytest.mark.parametrize("command", ELSEWHERE)
def test_the_test_that_runs_a_command_exists(command: str) -> None:
    file, name = ELSEWHERE[command].split("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_make_test_is_pytest() -> None:
    assert recipe("test") == [".venv/bin/python -m pytest -n 2"]
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


def test_make_ui_is_what_the_tests_of_processes_start() -> None:
    assert recipe("ui") == [".venv/bin/python -m pipelines.ui"]
    assert "pipelines.ui" in (ROOT / "tests" / "graph" / "test_processes.py").read_text(encoding="utf-8")


def test_make_demo_is_three_commands_of_which_make_train_is_one() -> None:
    assert recipe("demo") == [
        ".venv/bin/cliplit photos demo",
        *recipe("train"),
        ".venv/bin/cliplit enhance data/photos/pairs/backlit -o enhanced --overwrite",
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_documentation_followed_from_top_to_bottom(project: Path) -> None:
    """make demo, with few photos and steps, is the whole graph through Dagster, MLflow's registry included."""
    for shown in FOLLOWED:
        done = run(shown.runs or shown.command, project)
        output = done.stdout + done.stderr
        assert done.returncode == shown.code, f"{shown.command}\n{output[-3000:]}"
        assert shown.says in output, f"{shown.command}\n{output[-3000:]}"
        assert "Traceback" not in output, f"{shown.command}\n{output[-3000:]}"
        assert shown.makes is None or (project / shown.makes).exists(), shown.command
        if shown.command == "make demo":
            assert_demo_told_the_truth(project, done.stdout)
    (example,) = fenced(README, "python")
    code = f"from cliplit.photos.codecs import read_photo\npixels = read_photo('photo.jpg').pixels\n{example}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nassert relit.shape == pixels.shape and relit.dtype == pixels.dtype"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def assert_demo_told_the_truth(project: Path, output: str) -> None:
    """The places that make demo names at its end are there, and every stage is in DVC, Dagster and MLflow."""
    end = output.splitlines()[-3:]
    for name in ("artifacts/report/report.html", "enhanced/", "data/photos/pairs/backlit/"):
        assert name in "\n".join(end) and (project / name).exists()
    assert "make ui" in end[-1]
    locked = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert set(locked) == {"curate", "start", "prompts-0", "enhancer-0", "select", "evaluate", "report"}
    assert "9 assets, 0 of them were up to date" in output
    assert (project / "mlflow.db").is_file()


def test_the_example_of_params_is_valid(tmp_path: Path) -> None:
    (example,) = fenced(README, "yaml")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["guidance"] |= yaml.safe_load(example)["guidance"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").guidance.prompt_model is not None


def test_every_knob_in_the_readme_is_a_key_of_params() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    table = README.read_text(encoding="utf-8").split("## Knobs")[1].split("\n\n")[0]
    knobs = [key for row in table.splitlines()[3:] for key in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(knobs) > 5
    for knob in knobs:
        value: Any = params
        for part in knob.split("."):
            assert part in value, knob
            value = value[part]


def test_links_lead_somewhere() -> None:
    checked = 0
    for page in pages():
        for target in links(page):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
            checked += 1
    assert checked >= 5
    assert README.read_text(encoding="utf-8").startswith("![")


def test_the_newest_version_of_the_changelog_is_the_project_s() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == project["version"]


def test_architecture_names_every_package_and_only_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = {path.parent for path in tracked() if path.name == "__init__.py"}
    assert [folder.name for folder in sorted(packages) if f"{folder.name}/" not in text] == []
    there = {path.name for path in tracked()} | {"dvc.lock", "runner.lock"}
    named = set(re.findall(r"[\w.-]*\w\.(?:py|yaml|md|toml|env|lock|json|html)\b", text))
    assert {"stages.py", "dvc.yaml", "registry.py"} <= named
    assert sorted(named - there) == []
    layers = re.search(r"`(cli → .*?)`", text, re.DOTALL)
    assert layers is not None
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("containers")[1].split("]\n\n")[0]
    wanted = [name for line in re.findall(r'"([a-z |]+)"', contract)[1:] for name in line.split(" | ")]
    assert re.findall(r"[a-z]+", layers[1]) == wanted


def test_no_file_names_a_registry_or_somebody_s_machine() -> None:
    words = ("/work/" + "main", "/work/" + "shared", "/opt/" + "pypi", "/root" + "/", "index" + "-url", "pypi." + "org")
    pattern = re.compile("|".join(map(re.escape, words)) + r"|/home/[a-z]")
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8000]:
            found += [f"{path.relative_to(ROOT)}: {hit}" for hit in pattern.findall(data.decode(errors="replace"))]
    assert found == []


def test_constraints_are_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+( ; .+)?", pin) for pin in pins)
    assert len(pins) > 50
