"""The page that relights a dropped photo: one file, and a policy that lets the browser load nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2

from cliplit import evaluation
from cliplit.serve.limits import Limits, size

_HERE = Path(__file__).parent
_DIVIDER = Path(evaluation.__file__).parent  # the report's divider


class Page:
    """``html`` and the Content-Security-Policy that its style and script have the hashes of."""

    def __init__(self, limits: Limits) -> None:
        loader = jinja2.FileSystemLoader([_HERE, _DIVIDER])
        environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        figures = {"max_bytes": limits.max_bytes, "size": size(limits.max_bytes)}
        style = environment.get_template("page.css").render()
        script = environment.get_template("page.js").render(**figures)
        page = environment.get_template("page.html.j2").render(style=style, script=script, **figures)
        self.html = page
        self.policy = (
            "default-src 'none'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
        )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
