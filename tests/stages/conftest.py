"""A small real project: demo photos, the real stages, trained once for all tests here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from stages_project import Project, environment, materialize

from cliplit.lineage import dvc

ROOT = Path(__file__).parents[2]
_COPIED = ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "dagster.yaml")
_TINY: dict[str, Any] = {
    "device": "cpu",
    "curate": {"long_side": 128},
    "training": {"batch": 2, "prompt_batch": 16, "crop": 64, "crops_per_photo": 2, "checkpoint_steps": 4},
    "warm_start": {"steps": 2},
    "prompts": {"steps": 8},
    "enhancer": {"steps": 30, "learning_rate": 0.004},  # enough to pass the gate `beats_champion`
    "promotion": {"min_harmless_db": 15, "max_harmed_share": 1.0},  # so little training does harm
    "rounds": {
        number: {
            "previous": str(int(number) - 1),
            "prompts": {"steps": 4, "learning_rate": 0.001},
            "enhancer": {"steps": 3, "learning_rate": 0.0005},
        }
        for number in ("1", "2")
    },
}


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "CLIPLIT_TRACKING", "CLIPLIT_PIPELINE_RUN"):
            patch.delenv(name, raising=False)
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "dvc-site-cache"))
        yield


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real dvc.yaml and code, small parameters, demo photos."""
    from cliplit.photos.demo import render_demo

    path = tmp_path_factory.mktemp("untrained") / "project"
    path.mkdir()
    for name in _COPIED:
        shutil.copyfile(ROOT / name, path / name)
    for folder in ("cliplit", "mlflow"):
        shutil.copytree(ROOT / folder, path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (path / "data" / "champion").mkdir(parents=True)
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, path / ".dvc" / name)
    params = yaml.safe_load((path / "params.yaml").read_text())
    for key, value in _TINY.items():
        params[key] = params[key] | value if isinstance(value, dict) and key != "rounds" else value
    (path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    render_demo(path, count=10, pairs=2)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=path, check=True)
    return path


@pytest.fixture(scope="session")
def by_dvc(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another copy of the project, in which `dvc repro` trains meanwhile, without Dagster and MLflow."""
    path = tmp_path_factory.mktemp("by_dvc") / "project"
    shutil.copytree(untrained, path)
    process = subprocess.Popen(
        dvc.dvc_command("repro", "-q", "enhancer@1"),
        cwd=path,
        env=environment(CLIPLIT_TRACKING="off"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield path, process
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def trained_once(
    untrained: Path, by_dvc: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dg.ExecuteInProcessResult]:
    """The project after one materialization up to the champion, and its result; not to be changed."""
    path = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(untrained, path)
    return path, materialize(path)


@pytest.fixture
def trained(trained_once: tuple[Path, dg.ExecuteInProcessResult], tmp_path: Path) -> Project:
    """A copy of the trained project to work in."""
    shutil.copytree(trained_once[0], tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
