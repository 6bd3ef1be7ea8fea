"""The real kill -9 at every change of the file system, and in the middle of a write.

Everything runs in forks of this process, which has imported what is needed once and never uses it itself.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Countdown:
    """Kills this process with SIGKILL right before the ``number``-th event."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, *unused: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_changes(self, folder: Path) -> None:
        """Count everything that Python changes below ``folder``: files opened to write, renamed, removed, made."""
        below = str(folder)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                path, mode, flags = arguments
                changes = bool(set(mode) & set("wax+")) if mode else bool(flags & _WRITES)
            else:
                path, changes = (arguments[0] if arguments else None), event in _CHANGES
            if changes and isinstance(path, str | os.PathLike) and os.fspath(path).startswith(below):
                self()

        sys.addaudithook(hook)

    def on_calls(self, kind: type) -> None:
        """Count every call of a public method of ``kind`` by others."""
        for name in [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))]:
            setattr(kind, name, self._counted(getattr(kind, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self()
            return method(*arguments, **options)

        return call


def in_fork(act: Callable[[], object]) -> str:
    """What became of ``act`` in a fork: "done", "killed", or its traceback."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            act()
            code = 0
        except BaseException:
            os.write(writer, traceback.format_exc()[-4000:].encode())
            code = 1
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.WEXITSTATUS(status) == 0 else said or "failed"


def kill_everywhere(
    prepare: Callable[[], Path],
    act: Callable[[Path], object],
    check: Callable[[Path], object],
    arm: Callable[[Countdown, Path], None] = Countdown.on_changes,
) -> dict[str, Any]:
    """Kill ``act`` before its first, second, ... event; ``check`` asserts what must hold afterwards.

    Returns {"kills": number of boundaries, "held": those where ``check`` passed, "faults": what it said otherwise}.
    """
    faults: list[str] = []
    number = 0
    while True:
        number += 1
        folder = prepare()

        def armed(number: int = number, folder: Path = folder) -> None:
            arm(Countdown(number), folder)
            act(folder)

        outcome = in_fork(armed)
        if outcome not in ("done", "killed"):
            raise AssertionError(f"the action failed by itself at {number}: {outcome}")
        held = in_fork(lambda folder=folder: check(folder))
        if held != "done":
            faults.append(f"{number}: {held}")
        if outcome == "done":
            return {"kills": number - 1, "held": number - 1 - len(faults), "faults": faults}


def tear_everywhere(
    sizes: list[int], prepare: Callable[[], Path], act: Callable[[Path], object], check: Callable[[Path], object]
) -> dict[str, Any]:
    """As kill_everywhere, in the middle of the write of any file's byte number ``sizes``: the file stays torn."""
    faults, kills = [], 0
    for size in sizes:
        folder = prepare()

        def armed(size: int = size, folder: Path = folder) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            act(folder)

        kills += in_fork(armed) == "killed"
        held = in_fork(lambda folder=folder: check(folder))
        if held != "done":
            faults.append(f"byte {size}: {held}")
    return {"kills": kills, "held": kills - len(faults), "faults": faults}
