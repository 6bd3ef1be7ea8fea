"""Dagster and MLflow in the browser, on this machine only: ``python -m pipelines.ui`` (what `make ui` does)."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from assets.project import project_folder
from cliplit.errors import UserError
from cliplit.lineage import dvc, graph, mlflow_store
from pipelines.groups import Group
from pipelines.home import prepare_home

HOST = "127.0.0.1"  # neither server has a login
_READY_SECONDS = 90.0
_PATIENCE = 1.0  # s of waiting that nobody needs to be told of


def main() -> int:
    """What ``make ui`` does; bad input is one sentence and exit code 2."""
    try:
        return serve()
    except UserError as error:
        print(f"cliplit: {error}", file=sys.stderr)
        return 2


def serve() -> int:
    """Start both servers, print their addresses, and stop both on Ctrl-C or when one of them ends."""
    project = project_folder()
    graph.stages(project)
    home = prepare_home(project)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP if hasattr(signal, "SIGHUP") else signal.SIGTERM):
        signal.signal(number, _interrupt)
    environment = {**dvc.dvc_environment(), "CLIPLIT_PROJECT": str(project), "DAGSTER_HOME": str(home)}
    servers: dict[str, Group] = {}
    try:
        with chosen_ports() as (mlflow_port, dagster_port):
            remote = os.environ.get("MLFLOW_TRACKING_URI", "")
            if not remote.startswith("http"):
                environment["MLFLOW_UI_URI"] = f"http://{HOST}:{mlflow_port}"
                servers["MLflow"] = _start(
                    _mlflow(project, mlflow_port), project, _mlflow_environment(project, environment)
                )
            servers["Dagster"] = _start(_dagster(project, dagster_port), project, environment)
            print(f"Dagster  http://{HOST}:{dagster_port}", flush=True)
            print(f"MLflow   {environment.get('MLFLOW_UI_URI', remote)}/#/experiments{mlflow_store.VIEW}", flush=True)
            print(_readiness(servers, {"Dagster": dagster_port, "MLflow": mlflow_port}), flush=True)
        while all(server.poll() is None for server in servers.values()):
            time.sleep(0.5)
        ended = next(name for name, server in servers.items() if server.poll() is not None)
        print(f"cliplit: {ended} ended with code {servers[ended].poll()}; see {home / 'ui.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping both.", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for server in reversed(servers.values()):
            server.end()


@contextmanager
def chosen_ports() -> Iterator[tuple[int, int]]:
    """Free ports for MLflow and Dagster, which no other `make ui` of this user chooses before the block ends.

    A server listens only seconds after it was started, and until then its port looks free: the block shall end when
    both servers listen. Waits while another `make ui` is in such a block.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    lock = FileLock(Path(tempfile.gettempdir()) / f"cliplit-ports-{user}.lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        print("Waiting for another `make ui` to start its servers.", flush=True)
        lock.acquire()
    try:
        yield free_port(5000), free_port(3000)
    finally:
        lock.release()


def free_port(wanted: int) -> int:
    """``wanted``, or the next port above it that nobody listens on."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {wanted} and {wanted + 99} on {HOST}")


def _start(command: list[str], project: Path, environment: dict[str, str]) -> Group:
    """``command`` in a process group of its own, its output in ui.log beside Dagster's history."""
    with Path(environment["DAGSTER_HOME"], "ui.log").open("ab") as log:
        return Group(command, project, environment, log)


def _dagster(project: Path, port: int) -> list[str]:
    return [
        *[sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", str(port)],
        *["-w", str(project / "workspace.yaml")],
    ]


def _mlflow(project: Path, port: int) -> list[str]:
    return [
        *[sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"],
        *["--backend-store-uri", mlflow_store.tracking_uri(project)],
        *["--default-artifact-root", (project / mlflow_store.ARTIFACTS).as_uri()],
    ]


def _mlflow_environment(project: Path, environment: dict[str, str]) -> dict[str, str]:
    """``environment`` and what mlflow/server.env sets."""
    settings = project / "mlflow" / "server.env"
    lines = settings.read_text(encoding="utf-8").splitlines() if settings.exists() else []
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {**environment, **{name.strip(): value.strip() for name, value in pairs}}


def _readiness(servers: dict[str, Group], ports: dict[str, int]) -> str:
    """Wait until every server answers; says how to stop them, and which one has not answered."""
    until = time.monotonic() + _READY_SECONDS
    late = [name for name, server in servers.items() if not _answers(server, ports[name], until)]
    return f"Not answering yet: {', '.join(late)}; Ctrl-C stops." if late else "Ready; Ctrl-C stops both."


def _answers(server: Group, port: int, until: float) -> bool:
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=2).close()
            return True
        except OSError:
            time.sleep(0.3)
    return False


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
