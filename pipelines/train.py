"""Run the whole graph through Dagster from the command line: ``python -m pipelines.train`` (what `make train` does)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg

from assets.project import CHALLENGER, project_folder
from cliplit.config import load_params
from cliplit.errors import UserError
from pipelines.home import prepare_home

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # failures are told below, in one sentence


def main(arguments: list[str]) -> int:
    """Run the job named in ``arguments`` (train, unless one is named); 0 on success, 2 with one sentence otherwise."""
    project = project_folder()
    started = time.monotonic()
    try:
        load_params(project / "params.yaml")
        prepare_home(project)
        result = _run(arguments[0] if arguments else "train")
    except UserError as error:
        print(f"cliplit: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        return _stopped()
    if _interrupted(result):
        return _stopped()
    refused = refusals(result)
    if not result.success and not refused:
        print(f"cliplit: {failure_sentence(result)}", file=sys.stderr)
        return 2
    print(_summary(project, result, time.monotonic() - started))
    if refused:
        print(f"  The challenger does not reign: {'; '.join(refused)}.")
    return 0


def _run(job: str) -> dg.ExecuteInProcessResult:
    from pipelines.definitions import defs

    instance = dg.DagsterInstance.get()
    names = [each.name for each in defs.resolve_all_job_defs() if not each.name.startswith("__")]
    if job not in names:
        raise UserError(f"no job is called '{job}'; use one of {', '.join(names)}")
    if job != "observe":
        _execute(defs, "observe", instance)  # so that Dagster's history knows which photos this run has seen
    return _execute(defs, job, instance)


def _execute(defs: dg.Definitions, job: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(run_config=_QUIET, instance=instance, raise_on_error=False)


def _stopped() -> int:
    print("cliplit: stopped; the next `make train` goes on from the last checkpoint", file=sys.stderr)
    return 130


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a step was ended from outside, rather than by a fault."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and "DagsterExecutionInterruptedError" in error.to_string() for error in errors)


def refusals(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the gates said against the challenger, if nothing else went wrong: that is an answer, not a failure."""
    checks = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
    steps = [event.step_key for event in result.all_events if event.is_step_failure]
    ours = [check for check in checks if check.asset_key == dg.AssetKey(CHALLENGER)]
    return [check.description or check.check_name for check in ours] if len(ours) == len(steps) else []


def failure_sentence(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed, as the check or step that failed first says it."""
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            return f"{check.asset_key.to_user_string()}: {check.description}"
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        failure = event.step_failure_data
        if failure.user_failure_data and failure.user_failure_data.description:
            return failure.user_failure_data.description
        error: Any = failure.error
        while error is not None and error.cause is not None:
            error = error.cause
        return f"{event.step_key}: {error.message.strip() if error else event.message}"
    return "the run failed before its first stage; `make ui` shows why"


def _summary(project: Path, result: dg.ExecuteInProcessResult, seconds: float) -> str:
    """Where to look now."""
    made = [event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    hits = [event.materialization.metadata.get("cache_hit") for event in made]
    cached = sum(bool(hit is not None and hit.value) for hit in hits)
    lines = [f"\nDone in {seconds:.0f} s: {len(made)} assets, {cached} of them were up to date."]
    places = {
        "Report": "artifacts/report/report.html",
        "Relit photos": "artifacts/evaluation/photos",
        "Model": "artifacts/model/model.safetensors",
    }
    lines += [f"  {name + ':':<15}{project / path}" for name, path in places.items() if (project / path).exists()]
    lines.append("  Dagster and MLflow: `make ui`, then http://127.0.0.1:3000 and http://127.0.0.1:5000")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
