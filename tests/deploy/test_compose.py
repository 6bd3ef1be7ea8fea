"""deploy/compose.yaml without Docker: its parts fit together. test_compose_commands.py runs its commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from compose_commands import COMPOSE, DEPLOY, ROOT, SERVICES, example, expand

OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
#: What the compose specification knows of a service, as far as it is used here or likely to be.
KEYS = {
    *("build", "cap_add", "cap_drop", "command", "configs", "cpus", "depends_on", "deploy", "entrypoint", "env_file"),
    *("environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels", "logging"),
    *("mem_limit", "networks", "ports", "profiles", "read_only", "restart", "secrets", "security_opt", "shm_size"),
    *("stop_grace_period", "stop_signal", "tmpfs", "ulimits", "user", "volumes", "working_dir"),
}


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
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    assert "deploy" in extras
    for extra in extras:
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_driver_of_postgresql_is_named_and_installed() -> None:
    """SQLAlchemy takes another one where none is named."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"postgresql(.*?)://", text) == ["+psycopg2"] * 2
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {re.split("[<>=]", each)[0] for each in extras["deploy"]}
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert names == {"dagster-postgres", "psycopg2-binary"} and all(f"\n{name}==" in pinned for name in names)


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


def test_every_command_of_ours_is_run() -> None:
    """By test_compose_commands.py, which names them one by one."""
    assert OURS == ["bucket", "dagster-daemon", "dagster-webserver", "mlflow", "serve"]
    text = Path(__file__).with_name("test_compose_commands.py").read_text(encoding="utf-8")
    assert set(re.findall(r'\.(?:started|run)\("([\w-]+)"', text)) == set(OURS)
