"""Dagster's daemon evaluates the inbox sensor and is killed before it launches what that asked for.

`python kill_daemon.py PROJECT HOME` prints the run key, then SIGKILLs itself.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import dagster as dg

from pipelines.inbox import inbox_sensor


def keys(project: Path, instance: dg.DagsterInstance) -> list[str]:
    """The keys of the runs that the sensor asks for now."""
    with dg.build_sensor_context(instance=instance) as context:
        found = inbox_sensor(project)(context)
    return [str(request.run_key) for request in found.run_requests or []] if isinstance(found, dg.SensorResult) else []


if __name__ == "__main__":
    with dg.DagsterInstance.local_temp(sys.argv[2]) as instance:
        print(*keys(Path(sys.argv[1]), instance), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
