"""README.md and docs/, taken apart: their commands, examples and links."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    """Every file that git has or would add, and that is there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def pages() -> list[Path]:
    """The documentation."""
    return [path for path in tracked() if path.suffix == ".md"]


def instructions() -> list[Path]:
    """The pages that tell people what to type; docs/runs tells what was typed once."""
    return [path for path in pages() if ROOT / "docs" / "runs" not in path.parents]


def fenced(page: Path, language: str) -> list[str]:
    """The blocks of ``page`` fenced as ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Every line of the page's sh blocks, comments left out."""
    lines = [line.split("  #")[0].strip() for block in fenced(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def inline_commands(page: Path) -> list[str]:
    """Commands in running text: `make ...`, `dvc ...`, `cliplit ...`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]
    return [code for code in found if re.match(r"(make|dvc|cliplit) \S", code)]


def links(page: Path) -> list[str]:
    """Targets of the page's links and pictures that point into the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [target.split("#")[0] for target in targets if "://" not in target and not target.startswith("#")]
