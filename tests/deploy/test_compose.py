"""deploy/compose.yaml without Docker: its parts fit together, and its commands are run on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
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

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
#: What the compose specification knows of a service, as far as it is used here or likely to be.
KEYS = {
    *("build", "cap_add", "cap_drop", "command", "configs", "cpus", "depends_on", "deploy", "entrypoint", "env_file"),
    *("environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels", "logging"),
    *("mem_limit", "networks", "ports", "profiles", "read_only", "restart", "secrets", "security_opt", "shm_size"),
    *("stop_grace_period", "stop_signal", "tmpfs", "ulimits", "user", "volumes", "working_dir"),
}
BIN = Path(sys.executable).parent


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


def test_the_structure_is_composes() -> None:
    assert set(COMPOSE) - {key for key in COMPOSE if key.startswith("x-")} == {"name", "services", "volumes", "configs"}
    assert set(SERVICES) == {"postgres", "store", "bucket", "mlflow", "dagster-webserver", "dagster-daemon", "serve"}
    conditions = {"service_started", "service_healthy", "service_completed_successfully"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        assert "image" in service
        assert isinstance(service.get("command", []), list), f"{name}: a list needs no shell to take it apart"
        for other, rule in service.get("depends_on", {}).items():
            assert other in SERVICES and rule["condition"] in conditions
            assert rule["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
            assert rule["condition"] != "service_completed_successfully" or SERVICES[other]["restart"] == "no"
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"]
        for file in service.get("env_file", []):
            assert (DEPLOY / file).is_file()


def test_nothing_waits_for_itself() -> None:
    left = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while left:
        ready = {name for name, waits in left.items() if not waits}
        assert ready, left
        left = {name: waits - ready for name, waits in left.items() if name not in ready}


def test_volumes_exist_and_all_are_used() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert target.startswith("/")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                used.add(source)
    assert used == set(COMPOSE["volumes"])


def test_variables_stand_in_the_example_and_all_of_it_is_used() -> None:
    text = re.sub(r"^\s*#.*$", "", (DEPLOY / "compose.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example())
    for secret in ("POSTGRES_PASSWORD", "S3_SECRET_KEY"):
        assert re.search(rf"\$\{{{secret}:\?", text), f"{secret}: to be left out must be an error"
    ignored = subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_ports_are_for_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    for port in published:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", expand(port, example())), port


def test_dagsters_settings_are_the_projects_and_postgresql() -> None:
    here = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
    there = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert here == there | {"storage": {"postgres": {"postgres_url": {"env": "DAGSTER_DATABASE"}}}}


def test_the_image_holds_what_its_build_names() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("FROM python:3.1") and {line.split()[0] for line in lines} <= {
        *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD")
    }
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY"):
            for source in shlex.split(line)[1:-1]:
                assert (ROOT / source).exists() and f"!{source}" in allowed
    assert "USER 1000" in text
    for extra in re.search(r'"\.\[([\w,]+)\]"', text)[1].split(","):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_driver_of_postgresql_is_named_and_installed() -> None:
    """SQLAlchemy takes another one where none is named."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"postgresql(.*?)://", text) == ["+psycopg2"] * 2
    assert '"psycopg2-binary==' in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_the_stores_configuration_is_json() -> None:
    content = json.loads(expand(COMPOSE["configs"]["s3"]["content"], example()))
    assert content["identities"][0]["credentials"] == [{"accessKey": "cliplit", "secretKey": "change-me-too"}]


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
def test_docker_reads_it_too(tmp_path: Path) -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("this docker has no compose")
    command = ["docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "--env-file", str(DEPLOY / "env.example")]
    done = subprocess.run([*command, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Commands:
    """Runs the services' commands here: other ports, SQLite for PostgreSQL, and this machine for their names."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.values = folder, example() | {"S3_ENDPOINT": store}
        self.ports = {port: free_port() for port in (3000, 5000, 8000)}

    def here(self, text: str) -> str:
        """``text`` about this machine instead of the containers."""
        text = expand(text, self.values)
        if text.startswith("--allowed-hosts"):
            return text
        text = re.sub(r"postgresql\+psycopg2://\S+/(\w+)$", rf"sqlite:///{self.folder}/\1.db", text)
        for port, mine in self.ports.items():
            text = re.sub(rf"(mlflow|127\.0\.0\.1):{port}\b", rf"127.0.0.1:{mine}", text)
            text = text.replace(f"--port={port}", f"--port={mine}")
        return text.replace("--host=0.0.0.0", "--host=127.0.0.1")

    def argv(self, service: str) -> list[str]:
        """The command, its program taken from this environment."""
        program, *rest = [self.here(word) for word in SERVICES[service]["command"]]
        assert (BIN / program).exists(), program
        return [str(BIN / program), *rest]

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """What the service would see, MLflow's own settings included."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DAGSTER", "AWS"))}
        given = {name: self.here(value) for name, value in environment(service, self.values).items()}
        files = [DEPLOY / file for file in SERVICES[service].get("env_file", [])]
        lines = [line for file in files for line in file.read_text().splitlines() if "=" in line and line[0] != "#"]
        path = os.pathsep.join((str(BIN), os.environ["PATH"]))
        return kept | dict(line.split("=", 1) for line in lines) | given | {"PATH": path, "OMP_NUM_THREADS": "1"} | more

    @contextmanager
    def started(self, service: str, cwd: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service's command in a process group of its own."""
        with (self.folder / f"{service}.log").open("wb") as log:
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

    def healthy(self, service: str) -> bool:
        """Whether the service's own healthcheck passes."""
        _, program, script, *rest = SERVICES[service]["healthcheck"]["test"]
        command = [str(BIN / program), str(ROOT / script.removeprefix("/project/")), *map(self.here, rest)]
        return subprocess.run(command, capture_output=True).returncode == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(found: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Commands(tmp_path, f"http://{host}:{port}")
    server.stop()


def run_bucket(commands: Commands, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        commands.argv("bucket"), cwd=ROOT, env=commands.environment("bucket", **more), capture_output=True, text=True
    )


@pytest.mark.slow
def test_store_mlflow_and_serve_work_together(commands, tmp_path) -> None:
    """A model that is registered through the server lies in the store, and is served from there."""
    assert "is there" in run_bucket(commands).stdout and "is there" in run_bucket(commands).stdout
    with commands.started("mlflow", ROOT) as mlflow:
        wait_for(lambda: commands.healthy("mlflow"), mlflow)
        address = f"http://127.0.0.1:{commands.ports[5000]}"
        models = f"{address}/api/2.0/mlflow/registered-models/search"
        named = {"host": "mlflow:5000"}  # as containers call it
        assert httpx.get(models, headers=named, timeout=30).status_code == 200
        assert httpx.get(models, headers={"host": "evil.example"}, timeout=30).status_code == 403
        served = tmp_path / "served"
        served.mkdir()
        with commands.started("serve", served) as serve:
            wait_for(lambda: commands.healthy("serve"), serve)
            health = httpx.get(f"http://127.0.0.1:{commands.ports[8000]}/healthz", timeout=30).json()
            assert health["model"]["name"] == "shipped" and health["status"] == "ok"
            register = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("register_one.py")), str(tmp_path / "project")],
                env=os.environ | {"MLFLOW_TRACKING_URI": address, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            assert register.returncode == 0, register.stderr[-2000:]
            wait_for(lambda: _version(commands) == 1, serve)
    import boto3

    store = boto3.client(
        "s3", endpoint_url=commands.values["S3_ENDPOINT"], aws_access_key_id="a", aws_secret_access_key="b",
        region_name="us-east-1",
    )  # fmt: skip
    keys = [found["Key"] for found in store.list_objects_v2(Bucket="cliplit")["Contents"]]
    assert any(key.startswith("mlflow/") and key.endswith("model.safetensors") for key in keys)


def _version(commands: Commands) -> int | None:
    return httpx.get(f"http://127.0.0.1:{commands.ports[8000]}/healthz", timeout=30).json()["model"]["version"]


def test_a_store_that_does_not_answer_is_one_sentence(commands) -> None:
    commands.values["S3_ENDPOINT"] = "http://127.0.0.1:9"
    done = run_bucket(commands, BUCKET_SECONDS="0")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_dagsters_two_processes_start_on_the_project(commands, tmp_path) -> None:
    needed = {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"}
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")  # theirs but for PostgreSQL, as a test above says
    mine = {"DAGSTER_HOME": str(home), "CLIPLIT_PROJECT": str(ROOT)}
    query = {"query": "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy } } } }"}
    address = f"http://127.0.0.1:{commands.ports[3000]}"
    with (
        commands.started("dagster-webserver", ROOT, **mine) as web,
        commands.started("dagster-daemon", ROOT, **mine) as daemon,
    ):

        def healthy() -> bool:
            assert daemon.poll() is None
            try:
                told = httpx.post(f"{address}/graphql", json=query, timeout=20).json()["data"]
            except (httpx.TransportError, ValueError):
                return False
            statuses = told["instance"]["daemonHealth"]["allDaemonStatuses"]
            return needed <= {each["daemonType"] for each in statuses if each["healthy"]}

        wait_for(healthy, web)
        jobs = {"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }"}
        nodes = httpx.post(f"{address}/graphql", json=jobs, timeout=60).json()["data"]["repositoriesOrError"]["nodes"]
        assert {"train", "publish"} <= {job["name"] for node in nodes for job in node["jobs"]}


def test_every_command_of_ours_is_run_above() -> None:
    assert OURS == ["bucket", "dagster-daemon", "dagster-webserver", "mlflow", "serve"]
