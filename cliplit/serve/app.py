"""The web service: /enhance, /healthz, /metrics, and a page to drop a photo on.

Photos live in memory for the time of their request; nothing of them is written or logged.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cliplit.errors import PhotoError
from cliplit.photos.codecs import decode_photo, encode_photo
from cliplit.serve import metrics as figures
from cliplit.serve.follower import Follower, Served
from cliplit.serve.limits import Limits, Refused
from cliplit.serve.page import Page
from cliplit.serve.upload import receive

#: Formats to ask for, and what browsers call them.
FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "tiff": "TIFF"}
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "HEIF": "image/heic",
    "EXR": "image/x-exr",
    "HDR": "image/vnd.radiance",
}
_BYTES = "application/octet-stream"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_AGAIN = "2"  # s after which a client that was turned away may come again


class Desk:
    """Takes a request from its bytes to its answer, within the limits."""

    def __init__(self, follower: Follower, limits: Limits) -> None:
        self.follower, self.limits, self.metrics = follower, limits, follower.metrics
        self.pool = ThreadPoolExecutor(min(limits.concurrency, os.cpu_count() or 1), "cliplit-relight")
        self._inside = 0

    async def enhance(self, request: Request) -> Response:
        """The relit photo; raises Refused with the sentence to answer."""
        until = time.monotonic() + self.limits.timeout
        strength, kind = self._options(request)
        if self._inside >= self.limits.concurrency:
            raise Refused(503, "busy", f"{self._inside} photos are being relit already; send it again in {_AGAIN} s")
        self._enter()
        work: Future[tuple[bytes, str]] | None = None
        try:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                    data = await receive(request, self.limits)
            except TimeoutError:
                sentence = f"the photo did not arrive within {self.limits.timeout:g} s; send it again"
                raise Refused(408, "slow_upload", sentence) from None
            served = self.follower.served
            work = self.pool.submit(relight, served, data, strength, kind, self.limits.max_pixels)
            await asyncio.wait({asyncio.wrap_future(work)}, timeout=max(0.0, until - time.monotonic()))
            if not work.done():
                sentence = f"this took longer than {self.limits.timeout:g} s; send a smaller photo"
                raise Refused(504, "timeout", sentence)
            relit, name = work.result()
        finally:
            self._leave_after(work)
        headers = {"Cliplit-Model": served.label}
        return Response(relit, media_type=MEDIA_TYPES.get(name, _BYTES), headers=headers)

    def _options(self, request: Request) -> tuple[float, str | None]:
        """strength and format of the query."""
        query = dict(request.query_params)
        for name in query.keys() - {"strength", "format"}:
            raise Refused(400, "bad_option", f"there is no option '{name[:40]}'; use strength and format")
        text, kind = query.get("strength", "1"), query.get("format")
        try:
            strength = float(text)
        except ValueError:
            strength = math.nan
        if not 0 <= strength <= self.limits.max_strength:
            most = f"{self.limits.max_strength:g}"
            raise Refused(400, "bad_option", f"strength is '{text[:40]}'; send a number from 0 to {most}")
        if kind is not None and kind.lower() not in FORMATS:
            raise Refused(400, "bad_option", f"format is '{kind[:40]}'; use one of {', '.join(FORMATS)}")
        return strength, None if kind is None else FORMATS[kind.lower()]

    def _enter(self) -> None:
        self._inside += 1
        self.metrics.in_flight.set(self._inside)

    def _leave_after(self, work: Future[tuple[bytes, str]] | None) -> None:
        """A thread cannot be ended: a photo that took too long keeps its place until its thread is done with it."""
        if work is None or work.done() or work.cancel():
            self._leave()
            return
        loop = asyncio.get_running_loop()

        def leave(_: Future[tuple[bytes, str]]) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it the server
                loop.call_soon_threadsafe(self._leave)

        work.add_done_callback(leave)

    def _leave(self) -> None:
        self._inside -= 1
        self.metrics.in_flight.set(self._inside)


def relight(served: Served, data: bytes, strength: float, kind: str | None, max_pixels: int) -> tuple[bytes, str]:
    """The relit photo file and its format (that of ``data`` where it can be written); raises Refused (400)."""
    try:
        photo = decode_photo(data, "photo", max_pixels)
        relit = served.enhancer.enhance_photo(photo, strength)
        name = kind or ("TIFF" if photo.format == "RAW" else photo.format)
        return encode_photo(relit, name), name
    except PhotoError as error:
        raise Refused(400, "bad_photo", error.reason) from None
    except MemoryError:
        raise Refused(400, "no_memory", "the photo does not fit into memory; make it smaller first") from None


def create_app(follower: Follower, limits: Limits) -> FastAPI:
    """The application around ``follower``'s model, which it follows from start to end."""
    desk, page = Desk(follower, limits), Page(limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        yield
        follower.stop()
        desk.pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="cliplit", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def harden(request: Request, forward: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await forward(request)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        return refusal(Refused(error.status_code, "http", f"{request.method} {request.url.path}: {error.detail}"))

    @app.post("/enhance")
    async def enhance(request: Request) -> Response:
        started = time.monotonic()
        try:
            answer = await desk.enhance(request)
            desk.metrics.seconds.observe(time.monotonic() - started)
        except Refused as error:
            desk.metrics.failures.labels(error.reason).inc()
            answer = refusal(error)
        except ClientDisconnect:
            desk.metrics.failures.labels("gone").inc()
            answer = Response(status_code=400)  # nobody reads it
        except Exception:
            desk.metrics.failures.labels("fault").inc()
            desk.metrics.requests.labels("500").inc()
            raise
        desk.metrics.requests.labels(str(answer.status_code)).inc()
        return answer

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        sentence = "a fault of the program, which stands in the server's log; the photo may be sent again"
        return JSONResponse({"error": sentence}, 500, headers=_HEADERS)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse(health(follower))

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(desk.metrics.text(), media_type=figures.CONTENT_TYPE)

    @app.get("/")
    async def index() -> Response:
        return Response(page.html, media_type="text/html", headers={"Content-Security-Policy": page.policy})

    return app


def health(follower: Follower) -> dict[str, Any]:
    """Which model serves, since when, and what is wrong with a newer one."""
    served = follower.served
    return {
        "status": "degraded" if follower.problem else "ok",
        "model": {"version": served.version, "name": served.label, "md5": served.md5},
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(served.since)),
        "follows": "champion" if follower.follows else None,
        "checked_seconds_ago": round(time.monotonic() - follower.checked, 1),
        "problem": follower.problem,
    }


def refusal(error: Refused) -> JSONResponse:
    """One sentence as JSON; a client that was turned away because of others learns when to come again."""
    headers = {"Retry-After": _AGAIN} if error.status == 503 else {}
    if error.status in (408, 413):
        headers["Connection"] = "close"  # more of the body may come, and nobody wants it
    return JSONResponse({"error": error.sentence}, error.status, headers=headers)
