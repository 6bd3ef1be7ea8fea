"""Dependencies that fight each other, held together by the pins in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
from fast_project import ROOT, FastProject

from cliplit.lineage import dvc
from pipelines.definitions import build


def test_string_asset_selections_parse(fresh: FastProject) -> None:
    """Under antlr 4.9, which hydra 1.3 asks for, every one of them dies."""
    graph = build().resolve_asset_graph()
    selected = dg.AssetSelection.from_string('group:training and kind:pytorch and key:"enhancer_*"').resolve(graph)
    assert {key.to_user_string() for key in selected} == {"enhancer_0", "enhancer_1", "enhancer_2"}


def test_hydra_overrides_parse_for_dvc_experiments(trained: FastProject) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override("rounds.2.enhancer.learning_rate=0.25")
    assert override.value() == 0.25
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=trained.path, check=True)
    done = dvc.run_dvc(trained.path, "exp", "run", "-S", "enhancer.learning_rate=0.25", "-s", "enhancer-0")
    assert done.returncode == 0, done.stderr
    assert "learning_rate: 0.25" in (trained.path / "params.yaml").read_text()
    assert trained.ran == ["enhancer_0"]


def test_mlflow_is_the_library_though_a_folder_has_its_name() -> None:
    assert (ROOT / "mlflow").is_dir()
    assert not (ROOT / "mlflow" / "__init__.py").exists()
    asked = "import importlib.util as u; print(u.find_spec('mlflow').origin)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent.parent.name == "site-packages"
