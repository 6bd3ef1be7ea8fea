"""What tests of several folders need: a network that relights after a second of training, and a headless Chromium."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cliplit.config import NetworkConfig
from cliplit.networks import build_network, enhance, save_network

FAULTS_BEGIN, FAULTS_END = "<!-- faults: begin -->", "<!-- faults: end -->"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a grid network that has learned, from smooth noise, to give the square root of a dark photo."""
    torch.manual_seed(0)
    config = NetworkConfig(kind="grid", max_gain=8.0)
    network = build_network(config)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        image = F.interpolate(torch.rand(4, 3, 8, 8) ** torch.empty(4, 1, 1, 1).uniform_(1, 4), 64, mode="bilinear")
        optimiser.zero_grad()
        F.l1_loss(enhance(network, image), image.sqrt()).backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_network(network, config, path)
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser without a screen; one for all tests, since playwright runs but one at a time in a process."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
    if found is None or not os.access(Path(found), os.X_OK):
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def pytest_configure() -> None:
    """Let Ctrl-C work in what tests start: a shell that runs the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of faults, and put it on the page that CLIPLIT_FAULTS_PAGE names (as `make faults` does)."""
    passed = terminalreporter.stats.get("passed", [])
    rows = [value for report in passed for name, value in report.user_properties if name == "fault"]
    if not rows:
        return
    lines = ["| fault | what must hold | measured |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    terminalreporter.write_line("\n" + "\n".join(lines))
    page = os.environ.get("CLIPLIT_FAULTS_PAGE")
    if page and not terminalreporter.stats.get("failed"):
        text = Path(page).read_text(encoding="utf-8")
        before, _, rest = text.partition(FAULTS_BEGIN)
        after = rest.partition(FAULTS_END)[2]
        Path(page).write_text(
            f"{before}{FAULTS_BEGIN}\n" + "\n".join(lines) + f"\n{FAULTS_END}{after}", encoding="utf-8"
        )
