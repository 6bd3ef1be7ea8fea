"""How commands print tables and, with --json, their whole answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json to a command, as the argument ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of sentences and tables.")
    return option(command)


def echo_json(value: Any) -> None:
    """Print a dataclass, or a list of them, as JSON."""
    found = [asdict(each) for each in value] if isinstance(value, list) else asdict(value)
    click.echo(json.dumps(found, indent=2, default=str))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
