"""A project under git and DVC whose stages take a moment and whose model is a real network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from cliplit.lineage import dvc, registry

ROOT = Path(__file__).parents[2]
STAGE = '''"""Stands in for `python -m cliplit stage`: random weights of the seed, scored as score.json says."""
import json, pathlib, shutil, sys
import yaml

name, params = sys.argv[1], yaml.safe_load(pathlib.Path("params.yaml").read_text())
score = json.loads(pathlib.Path("score.json").read_text())
def write(path, value):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(json.dumps(value))
if name == "curate":
    shutil.copytree("data/photos/backlit", "artifacts/dataset/photos/backlit")
    write("artifacts/metrics/dataset.json", {"photos": 1})
if name == "select":
    import torch
    from cliplit.config import NetworkConfig
    from cliplit.networks import build_network, save_network
    torch.manual_seed(params["seed"])
    config = NetworkConfig(kind="grid", max_gain=8.0)
    save_network(build_network(config), config, pathlib.Path("artifacts/model/model.safetensors"))
    write("artifacts/model/choice.json", {"round": "0"})
    write("artifacts/metrics/select.json", {"score": score})
if name == "evaluate":
    write("artifacts/evaluation/per_photo.json", {})
    write("artifacts/metrics/evaluation.json", {"score": score, "photos": 1})
'''
GRAPH = {
    "curate": {
        "cmd": "python stage.py curate",
        "deps": ["data/photos/backlit"],
        "outs": ["artifacts/dataset"],
        "metrics": ["artifacts/metrics/dataset.json"],
    },
    "select": {
        "cmd": "python stage.py select",
        "deps": ["artifacts/dataset", "score.json"],
        "params": ["seed"],
        "outs": ["artifacts/model"],
        "metrics": ["artifacts/metrics/select.json"],
    },
    "evaluate": {
        "cmd": "python stage.py evaluate",
        "deps": ["artifacts/dataset", "artifacts/model", "score.json"],
        "outs": ["artifacts/evaluation"],
        "metrics": ["artifacts/metrics/evaluation.json"],
    },
}


class Project:
    """A clone that a team member works in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str) -> str:
        """What git prints; fails loudly."""
        done = subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        """What DVC prints; fails loudly."""
        done = dvc.run_dvc(self.path, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def train(self, seed: int, score: float) -> registry.Promotion:
        """Run the graph, register its model and offer it for promotion; parameters are committed before."""
        params = self.path / "params.yaml"
        values = yaml.safe_load(params.read_text())
        params.write_text(yaml.safe_dump(values | {"seed": seed}, sort_keys=False))
        (self.path / "score.json").write_text(str(score))
        self.git("add", "params.yaml", "score.json")
        self.git("commit", "-qm", f"Seed {seed}")
        dvc.track_photos(self.path)
        self.dvc("repro", "-q")
        registry.register_challenger(self.path)
        return registry.promote(self.path, by_score)

    def log(self) -> list[str]:
        """Subjects of git's commits, newest first."""
        return self.git("log", "--format=%s").splitlines()


def by_score(challenge: registry.Challenge) -> list[registry.Verdict]:
    """The one gate of these tests: more than the champion scores. The real ones relight photos."""
    mine, reigning = challenge.challenger.metrics, challenge.champion.metrics if challenge.champion else {}
    return [registry.Verdict("score", mine["score"] > reigning.get("score", 0.0), "as scored")]


def create(path: Path) -> Project:
    """A project with one photo, committed; nothing has run."""
    for name in ("params.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, path / name)
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, path / ".dvc" / name)
    (path / "dvc.yaml").write_text(yaml.safe_dump({"stages": GRAPH}, sort_keys=False))
    (path / "stage.py").write_text(STAGE)
    (path / "data/photos/backlit").mkdir(parents=True)
    Image.new("RGB", (64, 48), (40, 60, 90)).save(path / "data/photos/backlit/a.jpg")
    project = Project(path)
    project.git("init", "-q", "-b", "main")
    for name, value in (("user.name", "t"), ("user.email", "t@example.com")):
        project.git("config", name, value)
    project.git("add", "-A")
    project.git("commit", "-qm", "A project")
    return project


def cliplit(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in the project's folder."""
    command = [sys.executable, "-m", "cliplit", *arguments]
    return subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
