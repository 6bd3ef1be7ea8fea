"""Runs in a real MLflow database, and the JSON lines that are there without it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cliplit.lineage import mlflow_store as store
from cliplit.lineage import runs, tracking
from cliplit.lineage.journal import Journal
from cliplit.lineage.tracking import track_stage

PARAMS = {"seed": 3, "enhancer": {"steps": 5, "learning_rate": 0.1}}


def _runs(client, query: str = "") -> list:
    found = client.search_experiments(filter_string=f"name = '{store.EXPERIMENT}'")
    ids = [one.experiment_id for one in found]
    return client.search_runs(ids, query, order_by=["attributes.start_time ASC"]) if ids else []


def _children(client) -> list:
    return [run for run in _runs(client) if "cliplit.stage" in run.data.tags]


def _lines(project, stage: str) -> list[dict]:
    path = project.path / "work" / stage / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_a_parent_for_the_pipeline_and_a_child_for_each_stage(project, client, tmp_path):
    project.trained(0, 0.5)
    picture = tmp_path / "before.png"
    picture.write_bytes(b"pixels")
    with track_stage("enhancer@1", PARAMS, project.path) as tracker:
        for step in range(5):
            tracker.metrics({"loss": 1.0 / (step + 1), "identity": 2.0}, step)
        tracker.image("before", picture)
        tracker.text("notes.txt", "hello")
    with track_stage("select", PARAMS, project.path) as tracker:
        tracker.metric("score", 0.5)
    (parent,) = _runs(client, "tags.`cliplit.pipeline_run` = 'run-1'")
    enhancer, select = _children(client)
    assert {run.data.tags["mlflow.parentRunId"] for run in (enhancer, select)} == {parent.info.run_id}
    assert [run.info.status for run in (parent, enhancer, select)] == ["FINISHED"] * 3
    assert enhancer.data.params == {"seed": "3", "enhancer.steps": "5", "enhancer.learning_rate": "0.1"}
    assert enhancer.data.tags["cliplit.stage"] == "enhancer@1"
    assert enhancer.data.tags["cliplit.dataset_md5"] == "d" * 32
    history = client.get_metric_history(enhancer.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1.0 / (step + 1)) for step in range(5)]
    assert [entry.path for entry in client.list_artifacts(enhancer.info.run_id)] == ["images", "notes.txt"]
    assert client.list_artifacts(enhancer.info.run_id, "images")[0].path == "images/before.png"
    assert [line["step"] for line in _lines(project, "enhancer@1".replace("@", "-"))] == list(range(5))


def test_a_failing_stage_is_marked_and_its_error_passes(project, client):
    with pytest.raises(ZeroDivisionError), track_stage("select", PARAMS, project.path) as tracker:
        tracker.metric("score", 1.0)
        raise ZeroDivisionError
    assert [run.info.status for run in _runs(client)] == ["FAILED", "FAILED"]


def test_md5s_of_dvc_are_tagged_once(project, client, monkeypatch):
    md5 = project.trained(0, 0.5)
    with track_stage("select", PARAMS, project.path):
        pass
    tracking.tag_outputs(project.path, "select", {"artifacts/model": md5, "artifacts/metrics/select.json": "f" * 32})
    tracking.tag_outputs(project.path, "select", {"artifacts/model": "0" * 32})
    (run,) = _children(client)
    assert run.data.tags["dvc.md5"] == run.data.tags["dvc.md5.artifacts/model"] == md5
    assert run.data.tags["dvc.md5.artifacts/metrics/select.json"] == "f" * 32
    tail = f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{store.VIEW}"
    assert tracking.run_url(project.path, "select") == store.DEFAULT_UI + tail
    monkeypatch.setenv("MLFLOW_UI_URI", "https://runs.example/")
    assert tracking.run_url(project.path, "select") == "https://runs.example" + tail
    assert tracking.run_url(project.path, "report") is None


def test_plain_dvc_repro_gets_its_md5s_from_the_next_stage(project, client):
    with track_stage("select", PARAMS, project.path):
        pass
    time.sleep(0.01)
    md5 = project.trained(0, 0.5)  # dvc writes its lock after the stage
    with track_stage("evaluate", PARAMS, project.path):
        pass
    select, evaluate = _children(client)
    assert select.data.tags["dvc.md5"] == md5 and "dvc.md5" not in evaluate.data.tags


_VICTIM = """
import sys, time
from pathlib import Path
from cliplit.lineage.tracking import track_stage
with track_stage("select", {"seed": 3}, Path(sys.argv[1])) as tracker:
    for step in range(1, 8):
        tracker.metrics({"loss": float(step)}, step)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_resuming_after_kill_keeps_one_point_a_step(project, client):
    command = [sys.executable, "-c", _VICTIM, str(project.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout.readline() == "ready\n"
        until = time.monotonic() + 60
        while not _children(client) and time.monotonic() < until:
            time.sleep(0.1)
        victim.send_signal(signal.SIGKILL)
    assert [line["step"] for line in _lines(project, "select")] == list(range(1, 8))
    with track_stage("select", {"seed": 3}, project.path) as tracker:
        for step in range(5, 11):  # the last checkpoint was at step 4
            tracker.metrics({"loss": float(step)}, step)
    assert [line["step"] for line in _lines(project, "select")] == list(range(1, 11))
    killed, resumed = _children(client)
    assert (killed.info.status, resumed.info.status) == ("KILLED", "FINISHED")
    history = client.get_metric_history(resumed.info.run_id, "loss")
    assert sorted(point.step for point in history) == list(range(1, 11))


def _begun_and_left(client, project, pid: int) -> str:
    """A run of ``select`` that the process ``pid``, as old as this one, did not end."""
    machine, _, started = runs.process_name().split(":")
    tags = {"cliplit.stage": "select", "cliplit.process": f"{machine}:{pid}:{started}"}
    return str(client.create_run(store.experiment_id(client, project.path), run_name="select", tags=tags).info.run_id)


def test_only_runs_of_dead_processes_of_this_machine_are_closed_and_no_machine_is_named(project, client, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "annas-laptop")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living, killed = (_begun_and_left(client, project, pid) for pid in (os.getpid(), dead.pid))
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    elsewhere = _begun_and_left(client, project, dead.pid)
    monkeypatch.setattr("socket.gethostname", lambda: "annas-laptop")
    with track_stage("select", PARAMS, project.path):
        pass
    states = {run.info.run_id: run.info.status for run in _children(client)}
    assert (states[living], states[killed], states[elsewhere]) == ("RUNNING", "KILLED", "RUNNING")
    assert all("annas" not in value for run in _children(client) for value in run.data.tags.values())
    names = [run.data.tags["cliplit.process"] for run in _children(client)]
    assert all(re.fullmatch(r"[0-9a-f]{12}:\d+:\d+", name) for name in names)


def test_journal_drops_a_torn_line_and_starts_anew_for_other_parameters(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = Journal(path, {"seed": 1})
    first.append({"warm": 1.0, "loss": 9.0}, 0)
    first.append({"loss": 8.0}, 1)
    first.close()
    with path.open("a") as file:
        file.write('{"step": 2, "val')
    second = Journal(path, {"seed": 1})
    assert [(point.name, point.step) for point in second.append({"loss": 7.0}, 1)] == [("loss", 0), ("loss", 1)]
    second.append({"loss": 6.0}, 2)
    assert [point.name for point in second.close()] == ["warm"]
    values = [json.loads(line).get("values") for line in path.read_text().splitlines()[1:]]
    assert values == [{"warm": 1.0, "loss": 9.0}, {"loss": 7.0}, {"loss": 6.0}]
    Journal(path, {"seed": 2}).close()
    assert len(path.read_text().splitlines()) == 1


def _timed_stage(project) -> float:
    started = time.monotonic()
    with track_stage("select", PARAMS, project.path) as tracker:
        for step in range(3):
            tracker.metric("loss", 1.0, step)
    tracking.tag_outputs(project.path, "select", {"artifacts/model": "0" * 32})
    return time.monotonic() - started


def test_a_server_that_does_not_listen_costs_little(project, monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert _timed_stage(project) < 5
    tracked = [record for record in caplog.records if "not tracking" in record.getMessage()]
    assert len(tracked) == 1 and str(port) in tracked[0].getMessage()
    assert [line["step"] for line in _lines(project, "select")] == [0, 1, 2]


@pytest.mark.slow
def test_a_server_that_never_answers_costs_little(project, monkeypatch, caplog):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with track_stage("select", PARAMS, project.path) as tracker:
            tracker.metric("loss", 1.0, 0)
        assert time.monotonic() - started < 5
    assert sum("not tracking" in record.getMessage() for record in caplog.records) == 1
    assert [line["step"] for line in _lines(project, "select")] == [0]


def test_a_broken_database_costs_nothing_but_a_warning(project, caplog):
    (project.path / "mlflow.db").write_bytes(b"this is no database" * 100)
    started = time.monotonic()
    with track_stage("select", PARAMS, project.path) as tracker:
        tracker.metric("loss", 1.0, 0)
    assert time.monotonic() - started < 5
    assert any("not tracking" in record.getMessage() for record in caplog.records)


def test_tracking_can_be_switched_off(project, monkeypatch):
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    (project.path / "mlflow.db").unlink()
    with track_stage("select", PARAMS, project.path) as tracker:
        tracker.metric("loss", 1.0, 0)
    assert not (project.path / "mlflow.db").exists()
    assert len(_lines(project, "select")) == 1


def test_pipeline_run_of_a_plain_dvc_is_its_process(project, tmp_path):
    dvc = tmp_path / "dvc"
    dvc.write_text(
        "import subprocess, sys\n"
        "code = 'from cliplit.lineage.runs import pipeline_run; print(*pipeline_run())'\n"
        "for _ in range(2): subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CLIPLIT_PIPELINE_RUN"}
    shown = subprocess.run([sys.executable, str(dvc)], env=environment, capture_output=True, text=True, check=True)
    first, second = shown.stdout.splitlines()
    assert first == second and first.startswith("dvc-") and first.endswith(" dvc")


def test_only_lineage_imports_mlflow_and_only_when_needed():
    code = "import sys, cliplit.lineage.tracking, cliplit.lineage.registry; print('mlflow' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_server_settings_are_loopback_without_pickle():
    text = (Path(__file__).parents[2] / "mlflow" / "server.env").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert settings["MLFLOW_HOST"] == "127.0.0.1"
    assert yaml.safe_load(settings["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"]) is False
    assert not (Path(__file__).parents[2] / "mlflow" / "__init__.py").exists()
