"""One asset for each stage of dvc.yaml; DVC decides whether there is anything to do, and does it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from assets.previews import stage_preview
from assets.project import INCOMING, POOL, source_key, stage_key
from cliplit.files import read_json
from cliplit.lineage import digests, dvc, graph, tracking
from cliplit.lineage.runs import PIPELINE_RUN, headline
from cliplit.photos.importing import ROLES

_PATIENCE = 20.0  # s that an interrupted runner gets to end its stage


def stage_assets(project: Path, found: tuple[graph.Stage, ...]) -> list[dg.AssetsDefinition]:
    """The assets of all stages of ``project``, with the edges of dvc.yaml."""
    return [_stage_asset(project, stage, found) for stage in found]


def _stage_asset(project: Path, stage: graph.Stage, found: tuple[graph.Stage, ...]) -> dg.AssetsDefinition:
    by_name = {other.name: stage_key(other) for other in found}
    reads_photos = any(path.endswith(ROLES) for path in graph.raw_inputs([stage]))
    upstream = sorted(by_name[up] for up, down in graph.edges(found) if down == stage.name)
    position = f"{graph.in_order(found).index(stage) + 1}/{len(found)}"
    gpu = bool(stage.meta.get("gpu"))

    @dg.asset(
        key=stage_key(stage),
        deps=[
            *upstream,
            *([INCOMING] if reads_photos else []),
            *(source_key(path) for path in graph.raw_inputs([stage])),
        ],
        description=f"{stage.desc}.\n\n`{stage.cmd}` writes {', '.join(f'`{path}`' for path in stage.all_outs)}.",
        group_name=stage.meta.get("group", "stages"),
        kinds={*stage.meta.get("kinds", []), "dvc", *(["gpu"] if gpu else [])},
        owners=[stage.meta["owner"]] if "owner" in stage.meta else None,
        tags={"gpu": "true"} if gpu else None,
        op_tags={"gpu": "true"} if gpu else None,
        pool=POOL,
        code_version=code_version(project, stage, found),
        metadata={"stage": stage.name, "position": position},
    )
    def materialize(context) -> dg.MaterializeResult:  # Dagster refuses a postponed annotation here
        return _materialize(context, project, stage, f"[{position}]")

    return materialize


def code_version(project: Path, stage: graph.Stage, found: tuple[graph.Stage, ...]) -> str:
    """A short hash of what the stage does: its command, its code and the values of its parameters."""
    code = {path: _code_md5(project / path) for path in graph.code_inputs(stage, found)}
    what = {"cmd": stage.cmd, "code": code, "params": graph.param_values(project, stage)}
    return hashlib.md5(json.dumps(what, sort_keys=True).encode(), usedforsecurity=False).hexdigest()[:12]


@cache
def _code_md5(path: Path) -> str:
    return digests.path_md5(path) if path.exists() else "missing"


def _materialize(
    context: dg.AssetExecutionContext, project: Path, stage: graph.Stage, position: str
) -> dg.MaterializeResult:
    cached = dvc.is_current(project, stage.name)
    print(f"{position} {stage.name}: {'up to date' if cached else stage.desc}", flush=True)
    if not cached:
        if graph.raw_inputs([stage]):
            context.log.info(dvc.track_photos(project))
        _run(context, project, stage)
    md5 = dvc.outputs_md5(project, stage.name)
    if md5 is None:
        raise dg.Failure(f"dvc.lock has no outputs of {stage.name}; materialize it again", allow_retries=False)
    outs = {out.path: out.md5 for out in dvc.locked_outs(project, stage.name)}
    primary = {path: outs[path] for path in stage.outs}
    if not cached:
        tracking.tag_outputs(project, stage.name, primary | outs)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(md5), metadata=_metadata(context, project, stage, outs, cached)
    )


def _run(context: dg.AssetExecutionContext, project: Path, stage: graph.Stage) -> None:
    """Start the runner under Dagster Pipes; raises Failure with one sentence when the stage fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # Dagster warns of its own internals
        outcome = _supervise(context, project, stage)
    if outcome["exit_code"] != 0:
        raise dg.Failure(outcome["reason"], allow_retries=False)


def _supervise(context: dg.AssetExecutionContext, project: Path, stage: graph.Stage) -> dict[str, Any]:
    """{exit_code, reason} of the runner."""
    injector, reader = dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader()
    with dg.open_pipes_session(context, injector, reader) as session:
        environment = {**dvc.dvc_environment(), **session.get_bootstrap_env_vars()}
        environment |= {PIPELINE_RUN: context.run_id, "CLIPLIT_RUNNER_PARENT": str(os.getpid())}
        process = subprocess.Popen([sys.executable, "-m", "pipelines.runner", stage.name], cwd=project, env=environment)
        try:
            process.wait()
        finally:
            _end(process)
    told = [message for message in session.get_custom_messages() if "exit_code" in message]
    reason = f"{stage.name}: the runner ended with code {process.returncode} and gave no reason"
    return told[-1] if told else {"exit_code": process.returncode or 1, "reason": reason}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a runner that still runs, because this process was interrupted; it ends its stage itself."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()  # the guard of its group then ends the stage
        process.wait()


def _metadata(
    context: dg.AssetExecutionContext, project: Path, stage: graph.Stage, outs: dict[str, str], cached: bool
) -> dict[str, Any]:
    """A picture, the link to the curves, numbers and md5s, in the order in which they are shown."""
    metadata: dict[str, Any] = {}
    try:
        preview = stage_preview(project, stage)
    except Exception as error:  # a picture that cannot be drawn must not cost the stage's result
        context.log.warning(f"There is no preview of {stage.name}: {error}")
        preview = None
    if preview:
        metadata["preview"] = preview
    url = tracking.run_url(project, stage.name)
    if url:
        metadata["mlflow"] = dg.MetadataValue.url(url)
    metadata["cache_hit"] = cached
    for path in stage.metrics:
        if (project / path).exists():
            metadata |= headline(read_json(project / path))
    return metadata | {"outputs": dg.MetadataValue.json(outs)}
