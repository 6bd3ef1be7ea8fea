"""DVC's md5s are the join: they are Dagster's data versions, and they say what the bytes really are."""

from __future__ import annotations

import os
import re
from pathlib import Path

import dagster as dg
import pytest
from fast_project import ROOT, FastProject

from assets.project import stage_key
from assets.sources import observe_folder
from cliplit.errors import UserError
from cliplit.lineage import digests, dvc, graph
from pipelines.definitions import build


def test_the_stages_read_from_dvc_yaml_are_those_that_dvc_lists() -> None:
    listed = dvc.run_dvc(ROOT, "stage", "list", "--name-only").stdout.split()
    assert sorted(stage.name for stage in graph.stages(ROOT)) == sorted(listed)


def test_edges_equal_dvc_dag(fresh: FastProject) -> None:
    drawn = dvc.run_dvc(fresh.path, "dag", "--dot").stdout
    assert graph.edges(graph.stages(fresh.path)) == set(re.findall(r'"(.+)" -> "(.+)"', drawn))


def test_interpolation_keeps_rounds_chained() -> None:
    stage = graph.stage(ROOT, "enhancer@2")
    assert stage.round == "2" and stage.family == "enhancer"
    assert "artifacts/enhancer/1" in stage.deps and "artifacts/prompts/2" in stage.deps
    assert graph.param_values(ROOT, stage)["rounds.2.previous"] == "1"


def test_an_unknown_stage_names_those_there_are() -> None:
    with pytest.raises(UserError, match="no stage is called 'enhance'; use one of curate, start, prompts-0"):
        graph.stage(ROOT, "enhance")


def test_digests_equal_those_in_dvc_lock(trained: FastProject) -> None:
    for stage in graph.stages(trained.path):
        recorded = dvc.locked_outs(trained.path, stage.name)
        assert {out.path for out in recorded} == set(stage.all_outs)
        assert all(digests.path_md5(trained.path / out.path) == out.md5 for out in recorded)


def test_data_version_is_the_md5_in_dvc_lock(trained: FastProject) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = trained.materialize("curate", "select", instance=instance)
        assert result.success
        for name in ("curate", "select"):
            key = stage_key(graph.stage(trained.path, name))
            event = next(iter(result.asset_materializations_for_node(key.path[-1])))
            recorded = {out.path: out.md5 for out in dvc.locked_outs(trained.path, name)}
            assert event.tags["dagster/data_version"] == recorded[graph.stage(trained.path, name).outs[0]]
            assert event.metadata["outputs"].value == recorded


def test_an_observed_folder_has_the_md5_that_the_stage_read(trained: FastProject) -> None:
    observed = observe_folder(trained.path, "data/photos/backlit")
    assert observed.data_version.value in (trained.path / "dvc.lock").read_text()
    assert observed.metadata["photos"].value == 1 and "sample" in observed.metadata


def test_the_job_observe_looks_at_every_folder_of_photos(trained: FastProject) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = build().resolve_job_def("observe").execute_in_process(instance=instance)
    seen = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    assert sorted(one.asset_key.to_user_string() for one in seen) == [
        "photos/backlit",
        "photos/pairs",
        "photos/well_lit",
    ]
    lock = (trained.path / "dvc.lock").read_text()
    (backlit,) = [one for one in seen if one.asset_key.path[-1] == "backlit"]
    assert backlit.metadata["photos"].value == 1 and backlit.tags["dagster/data_version"] in lock


def _flip_a_bit(path: Path) -> None:
    """Flip one bit so that neither size nor times tell."""
    before = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_flipped_bit_in_an_output_is_found(trained: FastProject) -> None:
    assert dvc.verify_bytes(trained.path, "select") == []
    _flip_a_bit(trained.path / "artifacts/model/model.safetensors")
    (fault,) = dvc.verify_bytes(trained.path, "select")
    assert fault.startswith("artifacts/model: its bytes have md5 ")


def test_a_flipped_bit_in_a_restored_cache_object_is_found_though_dvc_trusts_it(trained: FastProject) -> None:
    model = trained.path / "artifacts/model/model.safetensors"
    md5 = digests.file_md5(model)
    _flip_a_bit(trained.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:])
    model.unlink()
    assert dvc.run_dvc(trained.path, "checkout", "-q", "select").returncode == 0
    assert digests.file_md5(model) != md5
    assert dvc.is_current(trained.path, "select")
    assert "dvc.lock says" in dvc.verify_bytes(trained.path, "select")[0]


def test_flipped_bits_stop_the_graph(trained: FastProject) -> None:
    dvc.is_current(trained.path, "select")
    _flip_a_bit(trained.path / "artifacts/model/model.safetensors")
    result = trained.materialize("select")
    check = next(check for check in result.get_asset_check_evaluations() if check.check_name == "bytes_match_dvc_lock")
    assert not check.passed and check.blocking


def test_photos_are_tracked_and_a_folder_without_dvc_says_so(fresh: FastProject, tmp_path: Path) -> None:
    assert "Versioned data/photos/backlit" in dvc.track_photos(fresh.path)
    assert (fresh.path / "data/photos/backlit.dvc").exists()
    (fresh.path / ".dvc").rename(tmp_path / "elsewhere")
    assert "no DVC repository" in dvc.track_photos(fresh.path)
