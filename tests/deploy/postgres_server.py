"""A PostgreSQL server, made as the entrypoint of its image makes one, and heard on one port of 127.0.0.1 only.

Nothing in it is meant to be kept, so nothing is flushed to the disk.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from compose_commands import DEPLOY, SERVICES, Commands, environment, wait_for

_SCRIPTS = "/docker-entrypoint-initdb.d/"


def programs() -> Path | None:
    """The folder of initdb and postgres: PATH's, or where Debian and Red Hat keep the newest; None without one."""
    kept = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    kept.sort(
        key=lambda folder: [int(digits) for digits in "".join(c if c.isdigit() else " " for c in str(folder)).split()]
    )
    on_path = shutil.which("initdb")
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *reversed(kept)]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


class Postgres:
    """The service ``postgres`` of Compose on this machine."""

    def __init__(self, programs: Path, folder: Path, commands: Commands) -> None:
        self.programs, self.folder, self.port = programs, folder, str(commands.ports[5432])
        given = environment("postgres", commands.values)
        self.user, self.password, self.database = (given[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
        self._own: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._own = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.healthy_while_made = self._make()
        self.process = self._start("127.0.0.1")
        wait_for(self.healthy, self.process)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What ``query`` finds."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, dbname=database
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()

    def healthy(self) -> bool:
        """Whether the service's own healthcheck passes; it asks the socket unless it names an address."""
        _, program, *rest = SERVICES["postgres"]["healthcheck"]["test"]
        asked = os.environ | {"PGHOST": str(self.folder), "PGPORT": self.port}
        return subprocess.run([self.programs / program, *rest], env=asked, capture_output=True).returncode == 0

    def restart(self) -> None:
        """As after an update of the image: every connection is cut."""
        self.stop()
        self.process = self._start("127.0.0.1")
        wait_for(self.healthy, self.process)

    def stop(self) -> None:
        """End the server."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def _make(self) -> bool:
        """The data folder, the database, and the scripts; whether the server seemed healthy before all were there."""
        password = self.folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        made = ["--no-sync", "--encoding=UTF8", "--no-locale", "--auth-local=trust", "--auth-host=scram-sha-256"]
        self._run("initdb", f"--username={self.user}", f"--pwfile={password}", f"--pgdata={self.folder}/data", *made)
        self.process = self._start("")  # as the entrypoint does: only the socket is open until the scripts have run
        try:
            psql = ["--set=ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", f"--username={self.user}", "--quiet"]
            psql += [f"--host={self.folder}", f"--port={self.port}"]
            wait_for(lambda: (self.folder / f".s.PGSQL.{self.port}").exists(), self.process)
            self._run("psql", *psql, "--dbname=postgres", f'--command=CREATE DATABASE "{self.database}"')
            early = self.healthy()
            for mounted in SERVICES["postgres"]["volumes"]:
                source, target = mounted.split(":")[:2]
                if target.startswith(_SCRIPTS):
                    script = shutil.copy(DEPLOY / source, self.folder)  # nobody may not be let into the checkout
                    self._run("psql", *psql, f"--dbname={self.database}", f"--file={script}")
            return early
        finally:
            self.stop()

    def _start(self, addresses: str) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": addresses,
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._own,
            )

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.programs / program), *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self._own)
        assert done.returncode == 0, done.stderr


@contextmanager
def served(programs: Path, commands: Commands) -> Iterator[Postgres]:
    """The server in a folder of its own, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="cliplit-") as folder:
        server = Postgres(programs, Path(folder), commands)
        try:
            yield server
        finally:
            server.stop()
