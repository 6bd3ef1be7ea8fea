"""Commands whose whole offspring ends with this process, however this process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

import psutil

_GRACE = ((signal.SIGINT, 6.0), (signal.SIGTERM, 2.0))  # s to react, before the next and at last SIGKILL
# The shell reads until this process is gone (nobody else holds the other end), then ends its own process group.
_GUARD = ["/bin/sh", "-c", "trap '' INT TERM HUP; read -r _; kill -KILL 0"]


class Group:
    """A command and everything it starts, in a process group of its own that Ctrl-C does not reach.

    A guard in the same group ends it when this process is killed outright; where there are no process groups
    (Windows), only ``end`` does.
    """

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], stdout: int | IO[bytes]) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        group = None
        if os.name == "posix":
            self._guard = subprocess.Popen(_GUARD, cwd=cwd, stdin=subprocess.PIPE, process_group=0)
            group = self._guard.pid
        try:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                process_group=group,
            )
        except BaseException:
            self._release()
            raise

    def poll(self) -> int | None:
        """The exit status of the command, None while it runs."""
        return self.process.poll()

    def end(self) -> None:
        """Ask everything that the command started to end, then make it; returns when nothing is left."""
        for number, patience in _GRACE:
            if not self._members():
                break
            self._signal(number)
            until = time.monotonic() + patience
            while self._members() and time.monotonic() < until:
                time.sleep(0.05)
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self._release()
        self.process.wait()

    def _release(self) -> None:
        """Let the guard do its duty on what is left, itself included."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()

    def _members(self) -> list[psutil.Process]:
        """Living processes of the group but for the guard (where there are no groups: the command's offspring)."""
        if self._guard is None:
            return [process for process in _tree(self.process.pid) if self.process.poll() is None]
        self.process.poll()  # so that it does not stay as a zombie
        found = []
        for process in psutil.process_iter():
            try:
                same = process.pid != self._guard.pid and os.getpgid(process.pid) == self._guard.pid
                if same and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def _signal(self, number: signal.Signals) -> None:
        for process in self._members():
            try:
                process.send_signal(number)
            except psutil.Error:
                continue


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
