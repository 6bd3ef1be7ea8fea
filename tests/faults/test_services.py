"""MLflow goes away in the middle of training, and runs start at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fast_project import FastProject, create

from cliplit.lineage import mlflow_store as store
from cliplit.lineage import unsent
from cliplit.lineage.tracking import track_stage

STEPS = 40


def _server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A real MLflow server on loopback, once it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command,
        env=os.environ | quiet,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 240
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return server
        except OSError:
            assert server.poll() is None
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def _kill(server: subprocess.Popen[bytes]) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.mark.slow
def test_mlflow_killed_during_training_gets_the_curves_later(project, note, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    server = _server(project.path, port)
    try:
        started = time.monotonic()
        with track_stage("enhancer@1", {"seed": 3}, project.path) as tracker:
            for step in range(STEPS):
                tracker.metrics({"loss": 1.0 / (step + 1)}, step)
                if step == STEPS // 2:
                    until = time.monotonic() + 60
                    while tracker.run_id is None and time.monotonic() < until:
                        time.sleep(0.1)
                    assert tracker.run_id is not None
                    time.sleep(2.5)
                    tracker.metrics({"halfway": 1.0}, step)  # the first half is on its way
                    _kill(server)
        cost = time.monotonic() - started
        (kept,) = unsent.waiting(project.path)
        run_id = json.loads(kept.read_text().splitlines()[0])["run_id"]
        server = _server(project.path, port)
        client = store.make_client(project.path, patient=True)
        before = len(client.get_metric_history(run_id, "loss"))
        with track_stage("select", {"seed": 3}, project.path) as tracker:  # the next stage sends what waits
            tracker.metric("score", 0.5)
        assert unsent.waiting(project.path) == []
        steps = sorted(point.step for point in client.get_metric_history(run_id, "loss"))
        assert steps == list(range(STEPS))
        assert client.get_run(run_id).info.status == "FINISHED"
    finally:
        if server.poll() is None:
            _kill(server)
    note(
        "the MLflow server is killed in the middle of training",
        "training goes on; the next stage sends what is missing",
        f"{len(steps)} of {STEPS} points in MLflow after it came back ({before} before); "
        f"{len(steps) - len(set(steps))} twice; stage ended {cost:.0f} s after its start",
    )


def _tables(folder: Path) -> int:
    """How many tables the newest database below ``folder`` has."""
    counts = [0]
    for path in folder.rglob("mlflow.db"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            counts.append(database.execute("select count(*) from sqlite_master where type = 'table'").fetchone()[0])
    return max(counts)


@pytest.mark.slow
def test_the_first_contact_with_mlflow_may_be_killed(tmp_path, note, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = "import sys, pathlib; from cliplit.lineage import mlflow_store as store; "
    command += "store.make_client(pathlib.Path(sys.argv[1])).search_experiments()"
    kills = 0
    for tables in (2, 15):
        with subprocess.Popen([sys.executable, "-c", command, str(tmp_path)]) as victim:
            while victim.poll() is None and _tables(tmp_path) < tables:
                time.sleep(0.005)
            kills += victim.poll() is None
            victim.kill()
    assert kills == 2
    assert len(store.make_client(tmp_path).search_experiments()) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["mlflow.db"]
    note(
        "kill -9 while MLflow makes its tables",
        "the next to come makes them all",
        f"{kills} of {kills} usable afterwards",
    )


def test_a_stage_without_mlflow_is_uploaded_to_a_run_of_its_own_once(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with track_stage("curate", {"seed": 3}, project.path) as tracker:
        tracker.metric("photos", 7.0)
    (kept,) = unsent.waiting(project.path)
    copy = kept.read_bytes()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(unsent.upload_patiently(project.path)) == 1 and unsent.waiting(project.path) == []
    kept.write_bytes(copy)  # as if killed right before the file was removed
    assert len(unsent.upload_patiently(project.path)) == 1
    client = store.make_client(project.path)
    found = client.search_runs([store.experiment_id(client, project.path)], "tags.`cliplit.stage` = 'curate'")
    assert len(found) == 1 and found[0].data.metrics == {"photos": 7.0} and found[0].info.status == "FINISHED"
    assert len(client.get_metric_history(found[0].info.run_id, "photos")) == 1
    parent = client.get_run(found[0].data.tags["mlflow.parentRunId"])
    assert parent.data.tags["cliplit.pipeline_run"] == "run-1"


@pytest.mark.slow
def test_runs_started_at_once_take_turns(tmp_path, note, monkeypatch):
    monkeypatch.setenv("CLIPLIT_TRACKING", "off")
    path = tmp_path / "project"
    path.mkdir()
    create(path)
    project = FastProject(path)
    project.misbehave("curate", "sleep")
    runners = [
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.runner", "curate"],
            cwd=path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [runner.communicate(timeout=240)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0, 0], outputs
    waited = sum("Waiting for another stage" in output for output in outputs)
    assert waited == 2 and project.ran == ["curate"]
    note(
        "three runs of one project started at once",
        "one after the other; what the first made is not made again",
        f"{waited} of 2 waited, the stage was executed {len(project.ran)} time, 3 of 3 ended well",
    )
