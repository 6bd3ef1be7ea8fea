"""What deploy/compose.yaml says, and its commands run on this machine instead of in containers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BIN = Path(sys.executable).parent
_OURS = ("MLFLOW", "DAGSTER", "CLIPLIT", "AWS", "PG")


def example() -> dict[str, str]:
    """The variables of env.example."""
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def expand(text: str, values: dict[str, str]) -> str:
    """``text`` with ${NAME}, ${NAME:-default} and ${NAME:?complaint} as Compose fills them in."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found["name"], found["kind"], found["rest"]
        if values.get(name) or (name in values and not kind):
            return values[name]
        assert kind == ":-", f"{name} is not in env.example"
        return rest

    return re.sub(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<rest>[^}]*))?\}", value, text)


def environment(service: str, values: dict[str, str]) -> dict[str, str]:
    """The variables that Compose gives to a service."""
    return {name: expand(str(value), values) for name, value in SERVICES[service].get("environment", {}).items()}


class Commands:
    """Runs the services' commands here: other ports, and this machine for their names.

    Without PostgreSQL (``postgresql`` is False) its addresses become SQLite files in ``folder``. The store keeps its
    name: it is reached through ``store`` as a proxy by those whom Compose tells of it, and by nobody else.
    """

    def __init__(self, folder: Path, values: dict[str, str], postgresql: bool, store: str) -> None:
        self.folder, self.values, self.postgresql = folder, values, postgresql
        self._network = {"HTTP_PROXY": store, "http_proxy": store, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self.ports = {port: free_port() for port in (3000, 5000, 5432, 8000)}

    def here(self, text: str) -> str:
        """``text`` about this machine instead of the containers."""
        text = expand(text, self.values)
        if text.startswith("--allowed-hosts"):
            return text
        if not self.postgresql:
            text = re.sub(r"postgresql\+psycopg2://\S+/(\w+)$", rf"sqlite:///{self.folder}/\1.db", text)
        for port, mine in self.ports.items():
            text = re.sub(rf"(mlflow|postgres|127\.0\.0\.1):{port}\b", rf"127.0.0.1:{mine}", text)
            text = text.replace(f"--port={port}", f"--port={mine}")
        return text.replace("--host=0.0.0.0", "--host=127.0.0.1")

    def url(self, port: int, path: str) -> str:
        """Of what a container would offer at ``port``."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def argv(self, service: str) -> list[str]:
        """The command, its program taken from this environment."""
        program, *rest = [self.here(word) for word in SERVICES[service]["command"]]
        assert (BIN / program).exists(), program
        return [str(BIN / program), *rest]

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """What the service would see, MLflow's own settings included."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        given = {name: self.here(value) for name, value in environment(service, self.values).items()}
        files = [DEPLOY / file for file in SERVICES[service].get("env_file", [])]
        lines = [line for file in files for line in file.read_text().splitlines() if "=" in line and line[0] != "#"]
        own = {"PATH": os.pathsep.join((str(BIN), os.environ["PATH"])), "OMP_NUM_THREADS": "1"}
        network = self._network if "AWS_ENDPOINT_URL" in given else {}
        return kept | dict(line.split("=", 1) for line in lines) | given | own | network | more

    @contextmanager
    def started(self, service: str, cwd: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service's command in a process group of its own; what it says is appended to ``folder``/SERVICE.log."""
        with (self.folder / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                self.argv(service),
                cwd=cwd,
                env=self.environment(service, **more),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, service: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The service's command from start to end."""
        given = self.environment(service, **more)
        return subprocess.run(self.argv(service), cwd=ROOT, env=given, capture_output=True, text=True)

    def healthy(self, service: str) -> bool:
        """Whether the service's own healthcheck passes."""
        _, program, script, *rest = SERVICES[service]["healthcheck"]["test"]
        command = [str(BIN / program), str(ROOT / script.removeprefix("/project/")), *map(self.here, rest)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def dagster_home(self) -> Path:
        """A new DAGSTER_HOME with the settings that Compose mounts, or without PostgreSQL the project's own."""
        home = self.folder / "home"
        home.mkdir()
        shutil.copyfile((DEPLOY if self.postgresql else ROOT) / "dagster.yaml", home / "dagster.yaml")
        return home


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(found: Callable[[], object], *processes: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Until ``found`` is true; fails when one of the processes ends first or time is up."""
    until = time.monotonic() + seconds
    while not found():
        assert all(process.poll() is None for process in processes), "a process ended"
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.2)
