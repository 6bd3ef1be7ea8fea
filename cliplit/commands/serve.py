"""``cliplit serve``: the champion as a web service with a page."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from cliplit.enhancer import CHAMPION
from cliplit.serve.limits import POLL_SECONDS, Limits

_DEFAULT = Limits()
_LOOPBACK = ("127.", "::1", "localhost")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; there is no login.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--model", default=CHAMPION, show_default=True, help="champion (followed), or a weights file.")
@click.option("--max-bytes", type=click.IntRange(min=1), default=_DEFAULT.max_bytes, show_default=True)
@click.option("--max-pixels", type=click.IntRange(min=1), default=_DEFAULT.max_pixels, show_default=True)
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=_DEFAULT.concurrency, show_default=True, help="Photos at once."
)
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=_DEFAULT.timeout, show_default=True, help="Seconds a request."
)
@click.option(
    "--poll", type=click.FloatRange(min=0.1), default=POLL_SECONDS, show_default=True, help="Seconds between looks."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def serve(
    host: str,
    port: int,
    model: str,
    max_bytes: int,
    max_pixels: int,
    concurrency: int,
    timeout: float,
    poll: float,
    device: str,
) -> None:
    """Relight photos over HTTP: a page at /, POST /enhance, GET /healthz and /metrics.

    A promoted champion is picked up without a restart. SIGTERM and Ctrl-C end the server when the photos in flight are
    answered.
    """
    from cliplit.serve import server
    from cliplit.serve.follower import Follower

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("cliplit").setLevel(logging.INFO)
    limits = Limits(max_bytes, max_pixels, concurrency, timeout)
    with server.listen(host, port) as listening:
        follower = Follower(model, Path(), device, interval=poll)
        shown, port = listening.getsockname()[:2]
        if not shown.startswith(_LOOPBACK):
            click.echo("There is no login: whoever reaches this address can use it.", err=True)
        address = f"[{shown}]" if ":" in shown else shown
        click.echo(f"Serving model {follower.served.label} at http://{address}:{port} (Ctrl-C ends it)")
        server.run(follower, limits, listening)
    click.echo("Ended; every photo in flight was answered.")
