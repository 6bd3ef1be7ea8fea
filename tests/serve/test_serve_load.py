"""`cliplit bench load` in small: figures of a real server, in whose memory many photos leave nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cliplit.bench import load
from cliplit.errors import UserError


@pytest.mark.slow
def test_a_small_run_gives_all_figures_and_shows_no_leak(tmp_path) -> None:
    command = [sys.executable, "-m", "cliplit", "bench", "load", "--requests", "120", "--megapixels", "0.1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["requests"] == 120 and figures["clients"] == 2 and figures["megapixels"] == pytest.approx(0.1, 0.02)
    assert figures["requests_per_second"] > 0.5 and 1 < figures["p50_ms"] <= figures["p99_ms"] < 60_000
    assert 50 < figures["rss_start_mb"] < 4000
    grown = figures["rss_end_mb"] - figures["rss_warm_mb"]
    assert grown < 108 * 0.3  # MB: less than each photo's decoded pixels left behind


def test_a_leak_shows_as_a_slope_and_rates_as_rates() -> None:
    answers = [load.Answer(0.1 * (n + 1), 0.2 if n % 100 else 0.9) for n in range(1000)]
    leaking = load._figures(answers, [(n, 200e6 + 50e3 * n) for n in range(10, 1001, 10)], 150e6)
    assert leaking["rss_slope_kb_per_request"] == pytest.approx(50)
    assert leaking["requests_per_second"] == pytest.approx(10) and leaking["p50_ms"] == 200
    assert leaking["p99_ms"] == pytest.approx(200, abs=10) or leaking["p99_ms"] == pytest.approx(900, abs=10)
    assert (leaking["rss_start_mb"], leaking["rss_end_mb"]) == (150, 250)
    steady = load._figures(answers, [(n, 200e6) for n in range(10, 1001, 10)], 150e6)
    assert abs(steady["rss_slope_kb_per_request"]) < 1e-3


def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="does not answer"):
        load.measure("http://127.0.0.1:9", 20)
