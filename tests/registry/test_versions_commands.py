"""``cliplit models compare | lineage | list``: sentences, tables and JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cliplit.commands.models import models
from cliplit.errors import UserError
from cliplit.lineage import registry
from cliplit.lineage.tracking import tag_outputs, track_stage


def _invoke(*arguments: str) -> str:
    done = CliRunner().invoke(models, list(arguments))
    if done.exception:
        raise done.exception
    return done.output


@pytest.fixture
def traced(project, monkeypatch):
    """Two versions; the first with runs and parameters as a pipeline leaves them."""
    monkeypatch.setenv("CLIPLIT_PIPELINE_RUN", "run-7")
    with track_stage("curate", {"seed": 0}, project.path) as tracker:
        tracker.results({"backlit_train": 30, "backlit_val": 6, "well_lit_train": 28, "well_lit_val": 5, "pairs": 3})
    md5 = project.trained(0, 0.5)
    tag_outputs(project.path, "curate", {"artifacts/dataset": "d" * 32})
    with track_stage("select", {"seed": 0}, project.path):
        pass
    tag_outputs(project.path, "select", {"artifacts/model": md5})
    lock = yaml.safe_load((project.path / "dvc.lock").read_text())
    lock["stages"]["select"]["params"] = {"params.yaml": {"seed": 0, "guidance": {"preset": "lumiclip"}}}
    (project.path / "dvc.lock").write_text(yaml.safe_dump(lock))
    registry.register_challenger(project.path)
    registry.promote(project.path, lambda challenge: [])
    project.trained(1, 0.6)
    registry.register_challenger(project.path)
    return project


def test_lineage_names_photos_parameters_code_runs_and_lock(traced):
    found = json.loads(_invoke("lineage", "champion", "--json"))
    assert found["version"]["number"] == 1 and found["version"]["dataset_md5"] == "d" * 32
    counts = {"backlit_train": 30, "backlit_val": 6, "well_lit_train": 28, "well_lit_val": 5, "pairs": 3}
    assert found["photos"] == counts
    assert found["params"] == {"seed": 0, "guidance.preset": "lumiclip"}
    runs = {run["stage"]: run for run in found["runs"]}
    assert (
        runs["select"]["md5"] == found["version"]["md5"]
        and f"/runs/{runs['select']['run_id']}" in runs["select"]["url"]
    )
    assert runs["evaluate"]["run_id"] is None  # it never ran here
    assert found["pipeline"]["run_id"] not in (None, runs["select"]["run_id"])
    assert yaml.safe_load(found["lock"])["stages"]["select"]["outs"][0]["md5"] == found["version"]["md5"]
    text = _invoke("lineage", "1")
    for part in ("Version 1 (champion)", "backlit train 30", "guidance.preset: lumiclip", "not in MLflow", "dvc.lock:"):
        assert part in text
    shutil.rmtree(traced.path / "mlruns")
    assert "MLflow has lost it" in _invoke("lineage", "1")


def test_versions_are_found_by_alias_number_and_full_name(traced):
    assert registry.find(traced.path, "cliplit@champion").number == registry.find(traced.path, "1").number == 1
    assert registry.alias_file(traced.path, "challenger") != registry.alias_file(traced.path, "cliplit@champion")
    assert registry.alias_file(traced.path, "7") is None and registry.alias_file(traced.path, "best") is None
    with pytest.raises(UserError, match=r"best: no such version; .* a number \(2, 1 registered\)"):
        _invoke("lineage", "best")


def test_list_and_rollback_as_json(traced):
    rows = json.loads(_invoke("list", "--json"))
    assert [row["number"] for row in rows] == [2, 1] and rows[0]["aliases"] == ["challenger"]
    registry.promote(traced.path, lambda challenge: [])
    done = json.loads(_invoke("rollback", "--json"))
    assert done["version"]["number"] == 1 and done["deposed"]["number"] == 2 and 0 < done["seconds"] < 30
    assert "Nothing waits" in _invoke("upload")


def test_compare_without_photos_says_what_is_missing(traced):
    with pytest.raises(UserError, match="run the stage curate first"):
        _invoke("compare", "champion", "challenger")
    assert not Path("work/measured").exists()
