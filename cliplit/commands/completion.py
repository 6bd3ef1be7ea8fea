"""``cliplit completion``: what makes a shell complete commands, options and file names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="""\b
For every new shell:
  bash:  echo 'eval "$(cliplit completion bash)"' >> ~/.bashrc
  zsh:   echo 'eval "$(cliplit completion zsh)"' >> ~/.zshrc
  fish:  cliplit completion fish > ~/.config/fish/completions/cliplit.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes cliplit's commands, options and files."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "cliplit", "_CLIPLIT_COMPLETE").source())
