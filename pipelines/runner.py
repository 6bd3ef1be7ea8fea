"""Run one DVC stage so that nothing outlives whoever asked for it: ``python -m pipelines.runner STAGE``.

DVC ignores Ctrl-C while a stage's command runs, and a killed parent leaves both behind. So DVC and the stage get a
process group of their own here; signals are forwarded to it, and when the parent of this process or this process
itself is gone, so are they.
A file lock lets one stage run at a time in a project, whoever starts it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import IO

import psutil
from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes
from filelock import FileLock, Timeout

from cliplit.errors import UserError
from cliplit.lineage import dvc, graph
from cliplit.lineage.champion import CHAMPION
from pipelines.groups import Group

_POLL = 0.2  # s
_TAIL = 16384  # bytes of output kept to find the reason of a failure
_STOPPED = 130
_ADVICE = (b"To track the changes", b"git add ", b"To enable auto", b"dvc config ", b"Use `dvc push`", b"Updating lock")
PARENT = "CLIPLIT_RUNNER_PARENT"


class Supervisor:
    """Knows when to stop: a signal arrived, or the process that started this one is gone."""

    def __init__(self) -> None:
        self.stopping = False
        self._parent = int(os.environ.pop(PARENT, os.getppid()))  # told, in case it died before this line
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def should_stop(self) -> bool:
        """True from the first signal, or the parent's death, on."""
        if os.getppid() != self._parent or not psutil.pid_exists(self._parent):
            self.stopping = True
        return self.stopping


def run(name: str, project: Path) -> tuple[int, str]:
    """Run stage ``name`` under the project's lock; returns (exit code, reason), the reason empty on success."""
    for folder in graph.raw_inputs([graph.stage(project, name)]):
        if not (project / folder).exists():
            raise UserError(f"{folder}: there is no such folder; run `cliplit photos import` or `cliplit photos demo`")
    (project / CHAMPION).parent.mkdir(parents=True, exist_ok=True)  # DVC wants what a stage reads to be there
    supervisor = Supervisor()
    with _lock(project, supervisor) as locked:
        if not locked:
            return _STOPPED, f"{name}: stopped while it waited for another stage"
        dvc.forget_dead(project)
        environment = {**dvc.dvc_environment(), "PYTHONUNBUFFERED": "1"}
        group = Group(dvc.dvc_command("repro", "--single-item", name), project, environment, subprocess.PIPE)
        tail = bytearray()
        assert group.process.stdout is not None
        pump = threading.Thread(target=_pass_on, args=(group.process.stdout, tail), daemon=True)
        pump.start()
        try:
            while group.poll() is None and not supervisor.should_stop():
                time.sleep(_POLL)
        finally:
            group.end()
        pump.join(timeout=2)
    if supervisor.stopping:
        return _STOPPED, f"{name}: stopped; start it again to go on from its last checkpoint"
    code = group.process.returncode
    return code, "" if code == 0 else failure_reason(name, tail.decode(errors="replace"))


def failure_reason(name: str, output: str) -> str:
    """One sentence why a stage failed: its own for the user, else the last line of its traceback, else DVC's."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("cliplit: "):
            return line.removeprefix("cliplit: ")
    own = [line for line in lines if not line.startswith(("ERROR:", ">", "Running stage", "Updating lock"))]
    if any(line.startswith("Traceback ") for line in lines):
        return f"{name}: {own[-1]} (a fault of the program; the traceback stands in the output of the run)"
    return f"{name}: {dvc.dvc_error(output)}"


@contextmanager
def _lock(project: Path, supervisor: Supervisor) -> Iterator[bool]:
    """The project's stage lock; yields False when told to stop while waiting for it."""
    path = project / "work" / "runner.lock"
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    announced = False
    while not supervisor.should_stop():
        try:
            lock.acquire(timeout=_POLL)
        except Timeout:
            if not announced:
                print("Waiting for another stage of this project to finish.", flush=True)
                announced = True
            continue
        try:
            yield True
        finally:
            lock.release()
        return
    yield False


def _pass_on(stream: IO[bytes], tail: bytearray) -> None:
    """Copy ``stream`` to standard output as it comes, progress bars included, but for DVC's advice about git.

    The end is kept in ``tail``.
    """
    pending = b""
    while chunk := os.read(stream.fileno(), 4096):
        tail += chunk
        del tail[:-_TAIL]
        *lines, pending = re.split(rb"(?<=[\r\n])", pending + chunk)
        _print([line for line in lines if line.strip() and not line.strip().startswith(_ADVICE)])
    _print([pending])


def _print(lines: list[bytes]) -> None:
    sys.stdout.buffer.write(b"".join(lines))
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> int:
    """The command line; under Dagster Pipes the outcome is reported there too."""
    if len(arguments) != 1:
        print("usage: python -m pipelines.runner STAGE", file=sys.stderr)
        return 2
    under_dagster = PipesEnvVarParamsLoader().is_dagster_pipes_process()
    with open_dagster_pipes() if under_dagster else nullcontext() as pipes:
        try:
            code, reason = run(arguments[0], Path.cwd())
        except UserError as error:
            code, reason = 2, str(error)
        if pipes is not None:
            pipes.report_custom_message({"exit_code": code, "reason": reason})
    if reason and not under_dagster:  # Dagster says it itself
        print(f"cliplit: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
