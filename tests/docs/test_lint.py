"""Style, types and the arrows between packages, as `make lint` checks them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from handbook import ROOT


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_lint_is_green(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_arrows_between_packages_run_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_lint_is_these() -> None:
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.removeprefix(".venv/bin/") for line in done.stdout.splitlines() if line.startswith(".venv/")]
    assert lines == ["ruff check .", "ruff format --check .", "mypy", "lint-imports"]
