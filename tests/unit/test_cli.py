"""The command line: quick to help, and what a user can put right is one sentence and exit code 2."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from cliplit import cli
from cliplit.errors import UserError


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cliplit", *arguments], cwd=cwd, capture_output=True, text=True)


def fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `cliplit stage` raise ``error``."""

    def get_command(self: object, ctx: click.Context, name: str) -> click.Command:
        def body() -> None:
            raise error

        return click.Command(name, callback=body)

    monkeypatch.setattr(cli.LazyGroup, "get_command", get_command)
    monkeypatch.setattr(sys, "argv", ["cliplit", "stage"])


def test_help_names_every_command_and_imports_nothing_slow() -> None:
    code = (
        "import sys\nfrom cliplit.cli import cliplit\n"
        "try: cliplit(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'open_clip', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("photos", "stage", "enhance", "models", "bench"):
        assert f"  {name} " in done.stdout


def test_every_command_that_help_names_is_there() -> None:
    group = cli.cliplit
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None and command.name == name and command.get_short_help_str()
    assert group.get_command(context, "nonsense") is None


def test_version_is_the_distribution_s(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert done.returncode == 0 and version("cliplit") in done.stdout


def test_an_unknown_command_is_exit_code_2(tmp_path: Path) -> None:
    done = run("enhence", cwd=tmp_path)
    assert done.returncode == 2 and "No such command 'enhence'" in done.stderr


def test_a_folder_without_params_is_one_sentence(tmp_path: Path) -> None:
    done = run("stage", "curate", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "cliplit: params.yaml: there is no such file; run this in a folder with a params.yaml"
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_error_is_its_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fails_with(UserError("photo.jpg: cannot be decoded; replace it"), monkeypatch)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "cliplit: photo.jpg: cannot be decoded; replace it\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails_with(OSError(number, "full", "out/a.jpg"), monkeypatch)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "cliplit: out/a.jpg: no space left; free some and run it again\n"


def test_threads_wait_without_spinning_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if told:
            monkeypatch.setenv("OMP_WAIT_POLICY", told)
        fails_with(UserError("x"), monkeypatch)
        with pytest.raises(SystemExit):
            cli.main()
        assert os.environ["OMP_WAIT_POLICY"] == expected
    monkeypatch.delenv("OMP_WAIT_POLICY")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(PermissionError(errno.EACCES, "no", "a"), monkeypatch)
    with pytest.raises(PermissionError):
        cli.main()
