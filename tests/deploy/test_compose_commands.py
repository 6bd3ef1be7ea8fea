"""The commands of deploy/compose.yaml at work: with PostgreSQL where this machine has one, with SQLite where not.

Which of the two it was stands in the tests' names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose_commands import ROOT, Commands, example, wait_for
from postgres_server import Postgres, programs, served

sys.path.append(str(ROOT / "tests" / "inbox"))
from inbox_project import InboxProject
from inbox_project import create as create_project

PROGRAMS = programs()
DATABASE = "sqlite-for-want-of-postgresql" if PROGRAMS is None else "postgresql"
#: Whatever a person may choose.
PASSWORD = "p@ss:w/rd %41#?"
SENSOR = {"repositoryName": "__repository__", "repositoryLocationName": "cliplit", "sensorName": "inbox"}
ASSET_JOB = {"repositoryName": "__repository__", "repositoryLocationName": "cliplit", "jobName": "__ASSET_JOB"}


@dataclass(frozen=True)
class Stack:
    """Compose's services as far as they run for all tests; ``postgres`` is None with SQLite."""

    commands: Commands
    postgres: Postgres | None

    def kept(self, database: str, query: str, found: list[tuple[Any, ...]]) -> None:
        """Assert what PostgreSQL keeps; with SQLite nothing is asserted."""
        assert self.postgres is None or self.postgres.rows(database, query) == found


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of what stands in for the S3-compatible store."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module", params=[DATABASE])
def stack(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Database, bucket and MLflow, in the order that Compose starts them in."""
    values = example() | {"POSTGRES_PASSWORD": PASSWORD}
    commands = Commands(tmp_path_factory.mktemp("stack"), values, PROGRAMS is not None, store)
    if PROGRAMS is None:
        yield from _with_mlflow(commands, None)
        return
    with served(PROGRAMS, commands) as postgres:
        yield from _with_mlflow(commands, postgres)


def _with_mlflow(commands: Commands, postgres: Postgres | None) -> Iterator[Stack]:
    assert "is there" in commands.run("bucket").stdout and "is there" in commands.run("bucket").stdout
    with commands.started("mlflow", ROOT) as mlflow:
        wait_for(lambda: commands.healthy("mlflow"), mlflow)
        yield Stack(commands, postgres)


def test_a_store_that_does_not_answer_is_one_sentence(tmp_path) -> None:
    commands = Commands(tmp_path, example(), postgresql=False, store="http://127.0.0.1:9")
    done = commands.run("bucket", BUCKET_SECONDS="0")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_secrets_are_on_no_command_line(stack) -> None:
    """Everybody on the machine may read those."""
    for service in ("bucket", "mlflow", "dagster-webserver", "dagster-daemon", "serve"):
        words = " ".join(stack.commands.argv(service))
        assert PASSWORD not in words and example()["S3_SECRET_KEY"] not in words


@pytest.mark.slow
def test_postgresql_is_healthy_once_its_databases_are_there_and_not_before(stack) -> None:
    if stack.postgres is None:
        pytest.skip("this machine has no PostgreSQL")
    assert stack.postgres.healthy() and not stack.postgres.healthy_while_made
    found = stack.postgres.rows("mlflow", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname")
    assert found == [("dagster",), ("mlflow",), ("postgres",)]


@pytest.mark.slow
def test_store_mlflow_and_serve_work_together(stack, store, tmp_path) -> None:
    """A model that is registered through the server lies in store and database, and is served from there.

    Neither who registers nor who serves can reach the store by its name, which only Compose's containers know.
    """
    commands: Commands = stack.commands
    models = commands.url(5000, "/api/2.0/mlflow/registered-models/search")
    named = {"host": "mlflow:5000"}  # as containers call it
    assert httpx.get(models, headers=named, timeout=30).status_code == 200
    assert httpx.get(models, headers={"host": "evil.example"}, timeout=30).status_code == 403
    served = tmp_path / "served"
    served.mkdir()
    with commands.started("serve", served) as serve:
        wait_for(lambda: commands.healthy("serve"), serve)
        assert _health(commands)["model"]["name"] == "shipped" and _health(commands)["status"] == "ok"
        register = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("register_one.py")), str(tmp_path / "project")],
            env=os.environ | {"MLFLOW_TRACKING_URI": commands.url(5000, ""), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert register.returncode == 0, register.stderr[-2000:]
        wait_for(lambda: _health(commands)["model"]["version"] == 1, serve)
        if stack.postgres is not None:
            stack.postgres.restart()
        assert httpx.get(models, timeout=30).json()["registered_models"][0]["name"] == "cliplit"
        assert _health(commands)["status"] == "ok"
    assert any(key.endswith("model.safetensors") for key in _stored(store))
    stack.kept("mlflow", "SELECT count(*) FROM alembic_version", [(1,)])
    stack.kept("mlflow", "SELECT version FROM registered_model_aliases WHERE alias = 'champion'", [(1,)])
    of_runs = "FROM model_versions AS v JOIN runs ON runs.run_uuid = v.run_id WHERE runs.status = 'FINISHED'"
    stack.kept("mlflow", f"SELECT v.name, v.version {of_runs}", [("cliplit", 1)])


def _health(commands: Commands) -> dict[str, Any]:
    return dict(httpx.get(commands.url(8000, "/healthz"), timeout=30).json())


def _stored(store: str) -> list[str]:
    """Names of MLflow's files in the store."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=store, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
    )
    return [found["Key"] for found in client.list_objects_v2(Bucket="cliplit", Prefix="mlflow/")["Contents"]]


class Dagster:
    """The page's interface for programs."""

    def __init__(self, commands: Commands) -> None:
        self._address = commands.url(3000, "/graphql")

    def ask(self, query: str, **variables: object) -> Any:
        """The only answer to ``query``."""
        told = httpx.post(self._address, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in told, told["errors"]
        (answer,) = told["data"].values()
        return answer

    def healthy(self) -> bool:
        """Whether sensors, schedules and runs are looked after."""
        try:
            told = self.ask("{ instance { daemonHealth { allDaemonStatuses { daemonType healthy } } } }")
        except (httpx.TransportError, ValueError):
            return False
        statuses = told["daemonHealth"]["allDaemonStatuses"]
        needed = {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"}
        return needed <= {each["daemonType"] for each in statuses if each["healthy"]}

    def jobs(self) -> set[str]:
        """Names."""
        found = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
        return {job["name"] for node in found["nodes"] for job in node["jobs"]}

    def materialize(self, asset: str) -> str:
        """Put a run of one asset, without its checks, into the queue; its id."""
        chosen = ASSET_JOB | {"assetSelection": [{"path": [asset]}], "assetCheckSelection": []}
        started = self.ask(
            "mutation($run: ExecutionParams!) { launchRun(executionParams: $run) {"
            " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            run={"selector": chosen, "runConfigData": {}},
        )
        return str(started["run"]["runId"])

    def status(self, run: str) -> str:
        """Of a run."""
        return str(self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run)["status"])

    def switch_on(self, sensor: dict[str, str]) -> None:
        """A sensor."""
        query = "mutation($it: SensorSelector!) { startSensor(sensorSelector: $it) { ... on Sensor { name } } }"
        assert self.ask(query, it=sensor)["name"] == sensor["sensorName"]

    def ticks(self, sensor: dict[str, str]) -> list[str]:
        """What came of the sensor's evaluations."""
        query = "query($it: SensorSelector!) { sensorOrError(sensorSelector: $it) { ... on Sensor"
        told = self.ask(query + " { sensorState { ticks { status } } } } }", it=sensor)
        return [tick["status"] for tick in told["sensorState"]["ticks"]]

    def materializations(self, asset: str) -> list[str]:
        """The runs that made the asset."""
        query = "query($it: AssetKeyInput!) { assetOrError(assetKey: $it) { ... on Asset"
        told = self.ask(query + " { assetMaterializations { runId } } } }", it={"path": [asset]})
        return [made["runId"] for made in told["assetMaterializations"]]


@pytest.mark.slow
def test_dagsters_two_processes_run_a_job_and_keep_its_history(stack, tmp_path) -> None:
    """A photo from the inbox is taken in by a run of the daemon; when both have ended, the database knows of it."""
    commands, dagster = stack.commands, Dagster(stack.commands)
    project: InboxProject = create_project(tmp_path / "project")
    (project.path / "workspace.yaml").write_bytes((ROOT / "workspace.yaml").read_bytes())
    project.drop("backlit/new.jpg")
    mine = {"DAGSTER_HOME": str(commands.dagster_home()), "CLIPLIT_PROJECT": str(project.path)}
    with (
        commands.started("dagster-webserver", project.path, **mine) as web,
        commands.started("dagster-daemon", project.path, **mine) as daemon,
    ):
        wait_for(dagster.healthy, web, daemon)
        assert {"train", "publish"} <= dagster.jobs()
        dagster.switch_on(SENSOR)
        run = dagster.materialize("incoming")
        ended = {"SUCCESS", "FAILURE", "CANCELED"}
        wait_for(lambda: dagster.status(run) in ended and dagster.ticks(SENSOR), web, daemon)
        assert dagster.status(run) == "SUCCESS" and dagster.materializations("incoming") == [run]
        assert len(project.photos("backlit")) == 1
    made = "dagster_event_type = 'ASSET_MATERIALIZATION'"
    stack.kept("dagster", "SELECT run_id, status FROM runs", [(run, "SUCCESS")])
    stack.kept("dagster", f"SELECT run_id, asset_key FROM event_logs WHERE {made}", [(run, '["incoming"]')])
    stack.kept("dagster", "SELECT DISTINCT status FROM job_ticks", [("SKIPPED",)])
    if stack.postgres is not None:
        assert not list((commands.folder / "home").rglob("*.db")), "history outside of PostgreSQL"
