"""The server as a process: how it starts, what it refuses to start with, how it ends, and what it keeps."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from serve_project import photo

pytestmark = pytest.mark.slow
SHIPPED = str(Path(__file__).parents[2] / "cliplit" / "weights" / "grid.safetensors")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered_before_the_end(serve, number) -> None:
    server = serve("--model", SHIPPED)
    sent, answers = photo(2400, 1600, "PNG"), []

    def ask() -> None:
        answers.append(httpx.post(f"{server.address}/enhance", content=sent, timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    until = time.monotonic() + 30
    while "cliplit_photos_in_flight 1.0" not in httpx.get(f"{server.address}/metrics").text:
        assert time.monotonic() < until and not answers
    assert server.end(number) == 0
    thread.join(30)
    assert answers[0].status_code == 200 and answers[0].content.startswith(b"\x89PNG")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.address}/healthz")
    log = server.log.read_text()
    assert "answered" in log and "Traceback" not in log


def test_an_endless_body_is_cut_off_and_a_slow_one_is_not_waited_for(serve) -> None:
    server = serve("--model", SHIPPED, "--max-bytes", "100000", "--timeout", "2", "--concurrency", "2")
    where = urlsplit(server.address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    connection.putrequest("POST", "/enhance")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    sent = 0
    try:
        while sent < 2**28:
            connection.send(b"4000\r\n" + b"\xff" * 0x4000 + b"\r\n")
            sent += 0x4000
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 2**25  # what the sockets hold, not what was to come
    large = httpx.post(f"{server.address}/enhance", content=b"\xff" * 150_000, timeout=30)
    assert large.status_code == 413 and "larger than 100000 bytes" in large.json()["error"]
    told = httpx.get(f"{server.address}/metrics").text
    assert 'cliplit_failures_total{reason="too_large"} 2.0' in told
    with socket.create_connection((where.hostname, where.port), 20) as slow:
        slow.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nabc")
        answer = b"".join(iter(lambda: slow.recv(4096), b"")).decode()  # to its end: head and body come apart
    assert answer.startswith("HTTP/1.1 408") and "did not arrive within 2 s" in answer
    assert httpx.post(f"{server.address}/enhance", content=photo()).status_code == 200


def test_the_example_of_the_documentation_and_what_is_kept_of_a_photo(serve, tmp_path) -> None:
    """The example of docs/serving.md relights; neither the photo nor its name is written or logged."""
    server = serve("--model", SHIPPED)
    (tmp_path / "photo.jpg").write_bytes(photo())
    before = set(tmp_path.rglob("*"))
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0].replace("http://127.0.0.1:8000", server.address)
    code = f"{example}\nassert relit != photo and relit.startswith(b'\\xff\\xd8')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    files = {"photo": ("holiday-of-anna.jpg", photo(), "image/jpeg")}
    assert httpx.post(f"{server.address}/enhance", files=files, timeout=30).status_code == 200
    assert httpx.post(f"{server.address}/enhance", files={"photo": ("holiday-of-anna.jpg", b"x")}).status_code == 400
    assert set(tmp_path.rglob("*")) == before
    assert "anna" not in server.log.read_text()
    assert server.end() == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "nothing.safetensors"), "no such weights file"),
        (("--host", "256.1.1.1"), "no such address"),
        (("--port", "TAKEN"), "another program listens there"),
    ],
)
def test_what_cannot_be_served_ends_in_one_sentence(tmp_path, options, says) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = [str(taken.getsockname()[1]) if option == "TAKEN" else option for option in options]
        command = [sys.executable, "-m", "cliplit", "serve", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_registry_that_does_not_answer_is_not_replaced_by_another_model(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    command = [sys.executable, "-m", "cliplit", "serve", "--port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "does not answer" in done.stderr
