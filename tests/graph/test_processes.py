"""Nothing outlives whoever asked for it, and one stage runs at a time."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fast_project import FastProject, wait_until

from pipelines.ui import free_port

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups are POSIX's")

_SLOW_SERVER = """
import sys, time
from http.server import HTTPServer, SimpleHTTPRequestHandler
time.sleep(2)
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
_SLOW_UI = """
import os, sys, time
from pathlib import Path
from pipelines import ui
Path(f"here-{os.getpid()}").touch()
while len(list(Path().glob("here-*"))) < 2:
    time.sleep(0.01)
ui._mlflow = ui._dagster = lambda project, port: [sys.executable, "slow_server.py", str(port)]
sys.exit(ui.main())
"""


def _start(project: FastProject, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _until_ready(ui: subprocess.Popen[str]) -> list[str]:
    """What a `make ui` prints, up to the line that says that its servers answer."""
    assert ui.stdout is not None
    lines: list[str] = []
    while not any("Ready" in line for line in lines) and (line := ui.stdout.readline()):
        lines.append(line)
    return lines


def _hang(project: FastProject) -> None:
    project.set_param("seed", 5)
    project.misbehave("curate", "hang")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_runner_ends_its_stage_when_told_to(trained: FastProject, number: signal.Signals) -> None:
    _hang(trained)
    runner = _start(trained, "pipelines.runner", "curate")
    assert wait_until(lambda: trained.ran == ["curate"])
    runner.send_signal(number)
    output, _ = runner.communicate(timeout=15)
    assert runner.returncode == 130 and "stopped; start it again" in output
    assert trained.processes() == []


def test_a_killed_runner_takes_even_a_silent_stage_with_it_and_can_be_repeated(trained: FastProject) -> None:
    trained.set_param("seed", 5)
    trained.misbehave("curate", "silent")
    runner = _start(trained, "pipelines.runner", "curate")
    assert wait_until(lambda: trained.ran == ["curate"])
    assert len(trained.processes()) >= 3  # the runner, DVC and the stage
    runner.kill()
    runner.communicate(timeout=15)
    assert wait_until(lambda: trained.processes() == [], 3)
    trained.behave()
    again = _start(trained, "pipelines.runner", "curate")
    output, _ = again.communicate(timeout=30)
    assert again.returncode == 0, output
    assert trained.processes() == []


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process_and_can_be_repeated(trained: FastProject) -> None:
    _hang(trained)
    run = _start(trained, "pipelines.train", "train")
    assert wait_until(lambda: trained.ran == ["curate"] or run.poll() is not None, 30)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 130, output
    assert output.splitlines()[-1] == "cliplit: stopped; the next `make train` goes on from the last checkpoint"
    assert trained.processes() == []


@pytest.mark.slow
def test_a_killed_worker_leaves_no_orphan_and_a_retry_succeeds(trained: FastProject) -> None:
    _hang(trained)
    worker = _start(trained, "pipelines.train", "train")
    assert wait_until(lambda: trained.ran == ["curate"] or worker.poll() is not None, 30)
    worker.kill()
    worker.communicate(timeout=15)
    assert wait_until(lambda: trained.processes() == [], 15)
    trained.behave()
    assert trained.materialize("curate").success
    assert trained.ran == ["curate", "curate"]


def test_two_runners_take_turns(trained: FastProject) -> None:
    trained.set_param("training.batch", 3)
    trained.misbehave("prompts_0", "sleep")
    trained.misbehave("prompts_1", "sleep")
    runners = [_start(trained, "pipelines.runner", stage) for stage in ("prompts-0", "prompts@1")]
    outputs = [runner.communicate(timeout=30)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], outputs
    events = [line.split()[:2] for line in (trained.path / "work" / "invocations.txt").read_text().splitlines()]
    assert len(events) == 4
    assert [event[0] for event in events] == ["start", "end", "start", "end"]
    assert any("Waiting for another stage" in output for output in outputs)


def test_an_unknown_stage_is_one_sentence(trained: FastProject) -> None:
    runner = _start(trained, "pipelines.runner", "enhance")
    output, _ = runner.communicate(timeout=15)
    assert runner.returncode == 2 and output.startswith("cliplit: dvc.yaml: no stage is called 'enhance'")


def test_train_says_what_is_wrong_with_params(trained: FastProject) -> None:
    trained.set_param("enhancer.learning_rate", -1.0)
    run = _start(trained, "pipelines.train")
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 2
    assert "enhancer.learning_rate" in output and "Traceback" not in output


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100


def test_two_uis_started_at_once_choose_different_ports(
    fresh: FastProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real main; where it starts MLflow and Dagster, a server that listens only after two seconds."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the lock lies
    (fresh.path / "slow_server.py").write_text(_SLOW_SERVER)
    (fresh.path / "slow_ui.py").write_text(_SLOW_UI)
    uis = [_start(fresh, "slow_ui") for _ in range(2)]
    try:
        said = [_until_ready(ui) for ui in uis]
        ports = [int(port) for lines in said for port in re.findall(r"127\.0\.0\.1:(\d+)", "".join(lines))]
        assert len(ports) == len(set(ports)) == 4, said
        assert sum("Waiting for another `make ui`" in "".join(lines) for lines in said) == 1, said
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
    finally:
        for ui in uis:
            ui.send_signal(signal.SIGINT)
        assert [ui.wait(20) for ui in uis] == [0, 0]


@pytest.mark.slow
def test_the_uis_start_on_loopback_terminate_ends_a_run_and_ctrl_c_ends_all(trained: FastProject) -> None:
    from dagster import DagsterRunStatus
    from dagster_graphql import DagsterGraphQLClient

    _hang(trained)
    ui = _start(trained, "pipelines.ui")
    lines = _until_ready(ui)
    log = trained.path / ".dagster" / "ui.log"
    assert any("Ready" in line for line in lines), "".join(lines) + log.read_text()
    addresses = dict(line.split() for line in lines[-3:-1])
    assert all(address.startswith("http://127.0.0.1:") for address in addresses.values())

    client = DagsterGraphQLClient("127.0.0.1", port_number=int(addresses["Dagster"].rsplit(":", 1)[1]))
    run = client.submit_job_execution("train")
    assert wait_until(lambda: trained.ran == ["curate"], 60), log.read_text()[-4000:]
    client.terminate_run(run)
    assert wait_until(lambda: client.get_run_status(run) == DagsterRunStatus.CANCELED, 20)
    assert not [process for process in trained.processes() if "fast_stage.py" in " ".join(process.cmdline())]
    assert not [process for process in trained.processes() if "repro" in process.cmdline()]

    ui.send_signal(signal.SIGINT)
    ui.communicate(timeout=30)
    assert ui.returncode == 0
    assert wait_until(lambda: trained.processes() == [], 10)
