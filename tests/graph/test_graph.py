"""The graph that Dagster shows is the one in dvc.yaml, and stays as it was agreed on.

After an intended change: CLIPLIT_UPDATE_SNAPSHOT=1 pytest tests/graph/test_graph.py, and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from fast_project import ROOT

from assets.project import POOL, stage_key
from cliplit.lineage import graph
from pipelines.definitions import build

SNAPSHOT = Path(__file__).with_name("graph.json")


@pytest.fixture
def defs(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setenv("CLIPLIT_PROJECT", str(ROOT))
    return build()


def _graph(defs: dg.Definitions) -> dict[str, Any]:
    assets = {}
    for spec in defs.resolve_all_asset_specs():
        assets[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "gpu": spec.tags.get("gpu"),
        }
    jobs = {}
    for job in defs.resolve_all_job_defs():
        if not job.name.startswith("__"):
            jobs[job.name] = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
    checks = sorted(key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys)
    return {"assets": assets, "checks": checks, "jobs": jobs}


def test_the_graph_is_as_agreed(defs: dg.Definitions) -> None:
    graph = _graph(defs)
    if os.environ.get("CLIPLIT_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(graph, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert graph == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_every_asset_says_what_it_is_whose_it_is_and_what_it_is_made_with(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert {"photos/backlit", "photos/well_lit", "photos/pairs", "incoming", "champion"} <= specs.keys()
    for name, spec in specs.items():
        assert list(spec.owners) == ["team:cliplit"] and spec.kinds and len(spec.description or "") >= 40, name


def test_dagsters_edges_between_stages_equal_those_of_dvc(defs: dg.Definitions) -> None:
    found = graph.stages(ROOT)
    names = {stage_key(stage): stage.name for stage in found}
    drawn = {
        (names[dep.asset_key], names[spec.key])
        for spec in defs.resolve_all_asset_specs()
        for dep in spec.deps
        if spec.key in names and dep.asset_key in names
    }
    assert drawn == graph.edges(found)


def test_every_stage_stands_in_the_one_pool_and_training_asks_for_a_gpu(defs: dg.Definitions) -> None:
    keys = {stage_key(stage): stage for stage in graph.stages(ROOT)}
    for asset in defs.assets or []:
        if isinstance(asset, dg.AssetsDefinition) and asset.key in keys:
            assert asset.op.pool == POOL
            assert (asset.op.tags.get("gpu") == "true") == (keys[asset.key].family in {"prompts", "enhancer"})


def test_code_version_follows_parameters_and_nothing_else(defs: dg.Definitions, tmp_path: Path) -> None:
    from assets.stages import code_version

    found = graph.stages(ROOT)
    before = {stage.name: code_version(ROOT, stage, found) for stage in found}
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "cliplit").symlink_to(ROOT / "cliplit")
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        text.replace("steps: 400", "steps: 401", 1).replace("device: auto", "device: cpu")
    )
    after = {stage.name: code_version(tmp_path, stage, found) for stage in found}
    assert {name for name in before if before[name] != after[name]} == {"prompts-0"}
