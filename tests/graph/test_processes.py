"""Nothing outlives whoever asked for it, and one stage runs at a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from fast_project import FastProject, wait_until

from pipelines.ui import free_port

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups are POSIX's")


def _start(project: FastProject, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


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


@pytest.mark.slow
def test_the_uis_start_on_loopback_terminate_ends_a_run_and_ctrl_c_ends_all(trained: FastProject) -> None:
    from dagster import DagsterRunStatus
    from dagster_graphql import DagsterGraphQLClient

    _hang(trained)
    ui = _start(trained, "pipelines.ui")
    assert ui.stdout is not None
    lines: list[str] = []
    while not any("Ready" in line for line in lines) and (line := ui.stdout.readline()):
        lines.append(line)
    log = trained.path / ".dagster" / "ui.log"
    assert any("Ready" in line for line in lines), "".join(lines) + log.read_text()
    addresses = dict(line.split() for line in lines[:2])
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
