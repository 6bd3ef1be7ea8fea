"""The command line: ``cliplit photos | stage | enhance | video | models | bench``."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from cliplit.errors import UserError

_COMMANDS = {
    "photos": "Import your photos, or render demo photos.",
    "stage": "Run one stage of dvc.yaml (DVC calls this).",
    "enhance": "Relight photos.",
    "video": "Relight a film, or a pipe of raw frames.",
    "models": "List, register, promote and roll back models; train the lighting prior.",
    "serve": "Relight photos over HTTP, with a page to drop one on.",
    "bench": "Measure models beside baselines, upper bounds and peers, and how fast they are.",
    "completion": "Print what makes a shell complete cliplit's commands.",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs: ``--help`` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"cliplit.commands.{cmd_name}"), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does it, but without importing every command for its help."""
        found = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cliplit")
def cliplit() -> None:
    """Relight photos taken against the light, with a model that learns from your own."""


def main() -> None:
    """Run the command line; what a user can put right ends in one sentence and exit code 2."""
    # Threads that wait by spinning made training 25 times slower on a machine that does anything else; torch reads this
    # when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cliplit(standalone_mode=True)
    except UserError as error:
        click.echo(f"cliplit: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        click.echo(f"cliplit: {error.filename or 'the disk'}: no space left; free some and run it again", err=True)
        sys.exit(2)
