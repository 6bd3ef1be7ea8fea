"""Photograph what a person sees, for docs/interfaces.md: python docs/pictures/screenshots.py [PROJECT] [--out FOLDER].

PROJECT (default: the current folder) has been trained by `make demo`, so that every photo in the pictures is rendered.
The pages are those of `make ui` and `cliplit serve`, seen in Debian's Chromium; each picture is a PNG of few colours.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from cliplit.lineage import registry
from cliplit.lineage.mlflow_store import VIEW

LIMIT = 250_000  # bytes of one picture
SIZE = {"width": 1360, "height": 850}
WALL = {"width": 2400, "height": 1420}  # of the lineage
SETTLE = 2500  # ms that a page gets after its last content has come, for transitions and fonts
PATIENCE = 30_000  # ms
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
ADDRESS = re.compile(r"http://[0-9.:]+")


def main() -> None:
    """Start the pages, photograph them one by one, and stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", nargs="?", type=Path, default=Path(), help="a folder in which `make demo` has run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    project = options.project.resolve()
    browser_file = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_file is None or not (project / "artifacts/report/report.html").exists():
        sys.exit("cliplit: this needs Chromium, and a project that is trained (make demo)")
    champion = registry.champion_version(project)
    assert champion is not None, "make demo promotes one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=FLAGS)
        with started(project, "pipelines.ui", until="Ready") as lines:
            dagster, mlflow = (ADDRESS.search(line).group() for line in lines[-3:-1])  # type: ignore[union-attr]
            asset, run = asset_page(browser, dagster)
            save(asset, options.out / "asset.png")
            save(mlflow_page(browser, run, "Model metrics"), options.out / "mlflow_run.png")
            page = f"#/models/{registry.NAME}/versions/{champion.number}{VIEW}"
            save(mlflow_page(browser, f"{mlflow}/{page}"), options.out / "registry.png")
            save(lineage(browser, dagster), options.out / "lineage.png")
        save(report(browser, project), options.out / "report.png")
        with started(project, "cliplit", "serve", "--port", "0", until="http://") as lines:
            save(serve(browser, ADDRESS.search(lines[-1]).group(), project), options.out / "serve.png")  # type: ignore[union-attr]
        browser.close()


@contextmanager
def started(project: Path, *arguments: str, until: str) -> Iterator[list[str]]:
    """`python -m ARGUMENTS` in ``project``, what it printed up to the line with ``until``; ended as by Ctrl-C."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", *arguments]
    server = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert server.stdout is not None
        lines: list[str] = []
        while not (lines and until in lines[-1]):
            line = server.stdout.readline()
            if not line:
                sys.exit(f"cliplit: {' '.join(arguments)} ended: {''.join(lines)}")
            lines.append(line)
        yield lines
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def opened(browser: Browser, address: str, height: int = SIZE["height"]) -> Page:
    page = browser.new_page(viewport={"width": SIZE["width"], "height": height})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def taken(page: Page) -> bytes:
    page.mouse.move(2, 2)
    page.wait_for_timeout(SETTLE)
    data = page.screenshot()
    page.close()
    return data


def lineage(browser: Browser, dagster: str) -> bytes:
    """All assets, every group unfolded, on a screen so large that Dagster writes their names."""
    page = browser.new_page(viewport=WALL)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{dagster}/asset-groups")
    page.get_by_text("training", exact=True).locator("visible=true").last.wait_for()
    page.get_by_text("Hide navigation").click()
    page.get_by_placeholder("Jump to").locator("xpath=following::button[1]").click()  # the tree of assets beside it
    page.wait_for_timeout(SETTLE)
    page.keyboard.press("Alt+e")  # unfolds all groups, and only then shows all of it
    page.get_by_text("challenger", exact=True).wait_for()
    return taken(page)


def asset_page(browser: Browser, dagster: str) -> tuple[bytes, str]:
    """The page of a trained network with its picture open, and where its MLflow link leads."""
    page = opened(browser, f"{dagster}/assets/enhancer_2")
    link = page.locator("a[href^='http'][href*='/runs/']").first  # Dagster's own links to its runs are relative
    link.wait_for()
    run = str(link.get_attribute("href"))
    return taken(page), run


def mlflow_page(browser: Browser, address: str, tab: str | None = None) -> bytes:
    """A page of MLflow, without its assistant."""
    page = opened(browser, address)
    page.get_by_text("Description").first.wait_for()
    page.wait_for_timeout(SETTLE)
    if page.get_by_text("MLflow Assistant").locator("visible=true").count():
        page.mouse.click(SIZE["width"] - 26, 35)  # the cross of that panel, which has no name to find it by
    if tab is not None:
        page.get_by_text(tab, exact=True).click()
        page.wait_for_timeout(2 * SETTLE)
    return taken(page)


def report(browser: Browser, project: Path) -> bytes:
    return taken(opened(browser, (project / "artifacts/report/report.html").as_uri(), 1000))


def serve(browser: Browser, address: str, project: Path) -> bytes:
    """The page of the server with a photo relit."""
    page = opened(browser, address)
    photo = sorted((project / "data/photos/pairs/backlit").iterdir())[0]
    page.locator("#file").set_input_files(photo)
    page.get_by_text("Done.").wait_for()
    return taken(page)


def save(data: bytes, path: Path) -> None:
    """Write a picture with as many colours as fit LIMIT."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for colours in (256, 128, 64, 32):
        small = picture.quantize(colours, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LIMIT:
            break
    path.write_bytes(buffer.getvalue())
    print(f"{path}: {buffer.tell() // 1000} kB, {colours} colours", flush=True)


if __name__ == "__main__":
    main()
