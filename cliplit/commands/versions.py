"""``cliplit models compare | lineage | upload``: what is known about registered versions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cliplit.commands.printing import echo_json, json_option, table

if TYPE_CHECKING:
    from cliplit.evaluation.compare import Interval
    from cliplit.lineage.aliases import Version
    from cliplit.lineage.ancestry import Ancestry


@click.command()
@click.argument("first")
@click.argument("second")
@json_option
def compare(first: str, second: str, as_json: bool) -> None:
    """Measure two versions on the held-out photos of today, side by side.

    Each is an alias (champion, challenger, previous), a number, or "input" for the photos as they were taken. Brackets
    hold 95 % intervals; the difference is over the same photos.
    """
    from cliplit.promotion import comparison

    found = comparison.compare(Path(), first, second)
    if as_json:
        echo_json(found)
        return
    rows = [("figure", _title(found.first), _title(found.second), "difference", "photos")]
    for row in found.rows:
        figures = (_figure(row.first), _figure(row.second), _figure(row.difference, "+"))
        rows.append((row.figure, *figures, str(row.first.n)))
    click.echo(table(rows))


@click.command()
@click.argument("version")
@json_option
def lineage(version: str, as_json: bool) -> None:
    """Print where a version comes from: photos, parameters, code, runs, dvc.lock.

    VERSION is an alias or a number.
    """
    from cliplit.lineage import registry
    from cliplit.lineage.ancestry import ancestry

    found = ancestry(Path(), registry.find(Path(), version))
    if as_json:
        echo_json(found)
    else:
        click.echo(_story(found))


@click.command()
def upload() -> None:
    """Send MLflow the curves of stages that ran while it was away."""
    from cliplit.lineage import unsent

    done = unsent.upload_patiently(Path())
    click.echo("\n".join(done) or "Nothing waits: MLflow has every curve.")


def _story(found: Ancestry) -> str:
    version = found.version
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created))
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in found.photos.items())
    lines = [
        f"Version {version.number} ({', '.join(version.aliases) or 'no alias'}), model {version.md5}, of {made}",
        f"Photos: dataset {version.dataset_md5 or 'unknown'} ({counts or 'MLflow does not know how many'})",
        f"Code: {version.git_commit or 'not in git'}",
        "",
        "Parameters:",
        *(f"  {name}: {value}" for name, value in found.params.items()),
        "",
        "Runs:",
    ]
    rows = [("stage", "output", "run", "address")]
    for run in (*([found.pipeline] if found.pipeline else []), *found.runs):
        rows.append((run.stage, run.md5[:8], run.run_id or "not in MLflow", run.url or ""))
    lines += ["  " + line for line in table(rows).splitlines()]
    return "\n".join([*lines, "", "dvc.lock:", found.lock or "  MLflow has lost it"])


def _title(version: Version | None) -> str:
    return f"version {version.number}" if version else "as taken"


def _figure(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.4f} [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"
