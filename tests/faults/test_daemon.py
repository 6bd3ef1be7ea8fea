"""The daemon dies between sensing and launching; tests/inbox has the finer cases."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from inbox_project import create
from kill_daemon import keys

from pipelines.jobs import ingest_and_retrain


@pytest.mark.slow
def test_a_daemon_killed_between_sensing_and_launching_starts_one_run_later(tmp_path, note):
    project, home = create(tmp_path / "project"), tmp_path / "home"
    home.mkdir()
    project.set("retrain.min_new_photos", 3)
    for index in range(3):
        project.drop(f"backlit/{index}.jpg", index=index)
    before = project.inbox()
    script = Path(__file__).with_name("kill_daemon.py")
    asked: list[str] = []
    for _ in range(3):
        command = [sys.executable, str(script), str(project.path), str(home)]
        killed = subprocess.run(command, capture_output=True, text=True, cwd=script.parents[2])
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        asked += killed.stdout.split()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        (key,) = keys(project.path, instance)
        assert asked == [key] * 3 and project.inbox() == before
        tags = {"dagster/run_key": key, "dagster/sensor_name": "inbox"}
        instance.add_run(dg.DagsterRun(job_name=ingest_and_retrain.name, tags=tags, status=dg.DagsterRunStatus.STARTED))
        assert keys(project.path, instance) == []
    note(
        "the daemon is killed between sensing new photos and launching the run",
        "one run for them, no photo lost",
        f"3 kills: {len({*asked, key})} run key, {len(before)} of {len(before)} photos there, 0 started twice",
    )
