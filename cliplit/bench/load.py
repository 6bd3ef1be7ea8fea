"""How many photos a second `cliplit serve` relights here, how long each waits, and whether its memory grows."""

from __future__ import annotations

import http.client
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cliplit.enhancer import SHIPPED
from cliplit.errors import UserError
from cliplit.photos.codecs import Photo, encode_photo
from cliplit.photos.demo import render_photo

MEGAPIXEL = (1155, 866)  # px; 4:3
WARM_UP = 0.1  # share of the requests after which memory counts as that of a warm server
_SAMPLES = 100  # looks at the memory, spread over the requests
_RSS = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One request: when it was answered, s since the start, and how long it took."""

    at: float
    seconds: float


@contextmanager
def server(model: Path = SHIPPED) -> Iterator[str]:
    """The address of a `cliplit serve` of its own, in a process of its own."""
    command = [sys.executable, "-m", "cliplit", "serve", "--port", "0", "--model", str(model.resolve())]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measure(address: str, requests: int = 2000, clients: int = 2, size: tuple[int, int] = MEGAPIXEL) -> dict[str, Any]:
    """Figures of ``requests`` JPEGs of ``size`` (width, height), sent by ``clients`` that each wait for their answer.

    Seconds are those of the clients, from the first byte sent to the last one received; memory is what the server's
    /metrics says. Raises UserError when a request is not answered with a photo.
    """
    where = urlsplit(address)
    body = encode_photo(Photo(_sized(size)), "JPEG")
    start_rss = _rss(where.netloc)
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(requests):
        todo.put(number)
    answers: list[Answer] = []
    memory: list[tuple[int, float]] = []
    started = time.monotonic()
    every = max(1, requests // _SAMPLES)
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(where.netloc, timeout=120)
        while True:
            try:
                todo.get_nowait()
            except queue.Empty:
                connection.close()
                return
            begun = time.monotonic()
            _enhance(connection, body)
            ended = time.monotonic()
            with lock:
                answers.append(Answer(ended - started, ended - begun))
                count = len(answers)
            if count % every == 0:
                memory.append((count, _rss(where.netloc)))

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(work) for _ in range(clients)]:
            future.result()
    return _figures(answers, sorted(memory), start_rss) | {
        "clients": clients,
        "megapixels": round(size[0] * size[1] / 1e6, 3),
        "body_kb": round(len(body) / 1000, 1),
        "cores": os.cpu_count(),
    }


def _figures(answers: list[Answer], memory: list[tuple[int, float]], start_rss: float) -> dict[str, Any]:
    """Rates and quantiles after the warm-up, and memory before, after it and at the end with its slope."""
    warm = int(len(answers) * WARM_UP)
    kept = answers[warm:]
    began = answers[warm - 1].at if warm else 0.0
    seconds = np.array([answer.seconds for answer in kept])
    counts, rss = np.array([pair for pair in memory if pair[0] >= warm], dtype=float).T
    slope = float(np.polyfit(counts, rss, 1)[0]) if len(counts) > 2 else 0.0
    return {
        "requests": len(answers),
        "requests_per_second": round(len(kept) / (answers[-1].at - began), 3),
        "p50_ms": round(float(np.quantile(seconds, 0.5)) * 1e3, 1),
        "p99_ms": round(float(np.quantile(seconds, 0.99)) * 1e3, 1),
        "rss_start_mb": round(start_rss / 1e6, 1),
        "rss_warm_mb": round(rss[0] / 1e6, 1),
        "rss_end_mb": round(rss[-1] / 1e6, 1),
        "rss_slope_kb_per_request": round(slope / 1e3, 3),
    }


def _enhance(connection: http.client.HTTPConnection, body: bytes) -> None:
    try:
        connection.request("POST", "/enhance", body, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        data = answer.read()
    except OSError as error:
        raise UserError(f"http://{connection.host}:{connection.port} does not answer ({error})") from None
    if answer.status != 200:
        raise UserError(f"/enhance answered {answer.status}: {data[:200].decode(errors='replace')}")


def _rss(netloc: str) -> float:
    """Resident memory of the server, bytes."""
    connection = http.client.HTTPConnection(netloc, timeout=30)
    try:
        connection.request("GET", "/metrics")
        found = _RSS.search(connection.getresponse().read().decode())
    except OSError as error:
        raise UserError(f"http://{netloc} does not answer ({error}); start `cliplit serve` first") from None
    finally:
        connection.close()
    if found is None:
        raise UserError(f"http://{netloc}/metrics does not tell its memory; is it `cliplit serve` on Linux?")
    return float(found[1])


def _sized(size: tuple[int, int]) -> np.ndarray:
    """A demo photo, uint8, repeated and cut to ``size``."""
    photo = render_photo("backlit", 0, 0)
    times = (-(-size[1] // photo.shape[0]), -(-size[0] // photo.shape[1]), 1)
    return np.ascontiguousarray(np.tile(photo, times)[: size[1], : size[0]])


def _address(process: subprocess.Popen[bytes], log: Any) -> str:
    """Where the server says that it listens; raises UserError with its own words when it ends instead."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        log.seek(0)
        said = log.read()
        found = re.search(r"http://\S+", said)
        if found and _listens(found[0]):
            return found[0]
        if process.poll() is not None:
            raise UserError(said.strip().splitlines()[-1].removeprefix("cliplit: ") if said.strip() else "it ended")
        time.sleep(0.1)
    raise UserError("`cliplit serve` did not start within 120 s")


def _listens(address: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
