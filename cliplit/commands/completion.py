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
def completion(shell: str) -> None:
    """Print the script with which SHELL completes cliplit's commands, options and files."""
    from cliplit.cli import cliplit

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cliplit, {}, "cliplit", "_CLIPLIT_COMPLETE").source())
