"""The gates of promotion as checks of `challenger`: one that does not pass keeps `champion` from running."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from assets.project import CHALLENGER, POOL
from cliplit.errors import UserError
from cliplit.lineage import registry
from cliplit.promotion import gates


def gate_checks(project: Path) -> list[dg.AssetChecksDefinition]:
    """One blocking check for each gate, in the order in which they are asked."""
    return [_gate_check(project, name) for name in gates.GATES]


def _gate_check(project: Path, name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=CHALLENGER, name=name, description=gates.GATES[name].__doc__, blocking=True, pool=POOL)
    def check() -> dg.AssetCheckResult:
        try:
            verdict = gates.ask(name, project, registry.challenge(project))
        except UserError as error:
            verdict = registry.Verdict(name, False, str(error))
        print(f"challenger: {name} {'passed' if verdict.passed else 'FAILED'}: {verdict.reason}", flush=True)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=verdict.reason,
            metadata=verdict.figures,
        )

    return check
