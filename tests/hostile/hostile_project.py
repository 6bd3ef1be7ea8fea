"""A project folder, and what is said when a command fails in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cliplit import cli


class Project:
    """A folder, and what is said when a command fails in it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self._monkeypatch = monkeypatch

    def refused(self, *arguments: str) -> str:
        """The one sentence with which ``cliplit ARGUMENTS`` ends, which must exit with 2 and change no file."""
        before = self.files()
        with self._monkeypatch.context() as patch:
            patch.chdir(self.path)
            patch.setattr(sys, "argv", ["cliplit", *arguments])
            with CliRunner().isolation() as (_, err, _), pytest.raises(SystemExit) as ended:
                cli.main()
            said = err.getvalue().decode()
        assert ended.value.code == 2, said
        assert self.files() == before
        return one_sentence(said)

    def refused_outside(self, *command: str, timeout: float = 60, **environment: str) -> str:
        """The same for ``python -m COMMAND`` in a process of its own."""
        before = self.files()
        done = self.run(*command, timeout=timeout, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
        assert done.returncode == 2, done.stdout + done.stderr
        assert self.files() == before
        return one_sentence(done.stderr, whole=done.stdout + done.stderr)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """``python -m COMMAND`` in the folder."""
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=self.path, capture_output=True, text=True, **options
        )

    def files(self) -> dict[str, bytes]:
        """What people would miss: everything in data/ and artifacts/, temporary files included."""
        found = [file for part in ("data", "artifacts") for file in (self.path / part).rglob("*") if file.is_file()]
        return {
            file.relative_to(self.path).as_posix(): file.read_bytes()
            for file in found
            if file.name != "set_aside.csv"  # says what is wrong
        }


def one_sentence(said: str, whole: str | None = None) -> str:
    """The last line of ``said``, which is cliplit's; no traceback anywhere."""
    assert "Traceback" not in (whole or said), whole or said
    sentences = [line for line in said.splitlines() if line.startswith("cliplit: ")]
    assert len(sentences) == 1 and said.splitlines()[-1] == sentences[0], said
    return sentences[0].removeprefix("cliplit: ")
