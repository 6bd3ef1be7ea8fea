"""Shell completion: the scripts are what shells take, and completing is quick."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def script(shell: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cliplit", "completion", shell], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which ``cliplit`` is this interpreter's."""
    command = tmp_path / "cliplit"
    command.write_text(f"#!{sys.executable}\nfrom cliplit.cli import main\nmain()\n")
    command.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("cliplit enh", ["enhance"]), ("cliplit enhance --res", ["--resume"]), ("cliplit s", ["stage", "serve"])],
)
def test_bash_sources_the_script_and_completes(path: str, words: str, expected: list[str]) -> None:
    code = script("bash") + (
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        "_cliplit_completion cliplit; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    done = subprocess.run(
        ["bash", "-euc", code], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_every_shell_has_a_script_for_cliplit(shell: str, word: str) -> None:
    text = script(shell)
    assert word in text and "_CLIPLIT_COMPLETE" in text


def test_completing_imports_nothing_slow() -> None:
    code = (
        "import sys\nfrom cliplit.cli import cliplit\n"
        "try: cliplit(prog_name='cliplit')\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'open_clip', 'dagster'} & set(sys.modules)))"
    )
    for words in ("cliplit ", "cliplit enhance --"):
        environment = {**os.environ, "_CLIPLIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_shell_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "cliplit", "completion", "dos"], capture_output=True, text=True)
    assert done.returncode == 2 and "fish" in done.stderr
