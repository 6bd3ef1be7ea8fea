"""What the service answers: relit photos, one sentence for everything else, and figures about both."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from serve_project import photo

from cliplit.photos.codecs import decode_photo


def metric(client, line: str) -> float:
    """The value of one line of /metrics."""
    found = [row.split()[-1] for row in client.get("/metrics").text.splitlines() if row.startswith(line + " ")]
    return float(found[0]) if found else 0.0


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64)


def sentence(answer) -> str:
    """The one sentence of a refusal, which holds no trace of the program."""
    told = answer.json()
    assert set(told) == {"error"} and "\n" not in told["error"] and 10 < len(told["error"]) < 300
    assert not any(word in answer.text for word in ("Traceback", ".py", "Error(", "site-packages"))
    return told["error"]


def test_a_photo_comes_back_relit_in_its_own_format(client, shipped) -> None:
    here = client()
    for kind, media in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"), ("TIFF", "image/tiff")):
        sent = photo(kind=kind)
        answer = here.post("/enhance", content=sent)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
        assert answer.headers["cliplit-model"] == "grid.safetensors" and answer.headers["cache-control"] == "no-store"
        assert Image.open(io.BytesIO(answer.content)).format == kind
        if kind == "PNG":  # exact: the service relights what the library relights
            wanted = shipped.served.enhancer.enhance_photo(decode_photo(sent)).pixels
            assert np.array_equal(pixels(answer.content), wanted)
            assert pixels(answer.content).mean() > pixels(sent).mean() + 3


def test_a_form_is_as_good_as_a_body(client) -> None:
    here, sent = client(), photo(kind="PNG")
    raw = here.post("/enhance", content=sent).content
    form = here.post("/enhance", data={"note": "x" * 99}, files={"photo": ("a.png", sent, "image/png")})
    two = here.post("/enhance", files=[("a", ("a.png", sent)), ("b", ("b.png", b"no photo"))])
    assert raw == form.content == two.content


def test_strength_and_format(client) -> None:
    here, sent = client(), photo(kind="PNG")
    assert np.array_equal(pixels(here.post("/enhance?strength=0", content=sent).content), pixels(sent))
    levels = [pixels(here.post(f"/enhance?strength={s}", content=sent).content).mean() for s in (0, 0.5, 1, 1.5)]
    assert levels == sorted(levels) and levels[0] < levels[-1]
    answer = here.post("/enhance?format=JPEG", content=sent)
    assert answer.headers["content-type"] == "image/jpeg" and answer.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("query", "body", "status", "says", "reason"),
    [
        ("", b"", 400, "holds no photo", "no_photo"),
        ("", b"hello", 400, "not a photo", "bad_photo"),
        ("", photo()[:600], 400, "damaged or truncated", "bad_photo"),
        ("", photo(200, 200), 400, "megapixel", "bad_photo"),
        ("", b"\xff" * 70_000, 413, "larger than 50000 bytes", "too_large"),
        ("?strength=nan", photo(), 400, "number from 0 to 2", "bad_option"),
        ("?strength=-1", photo(), 400, "number from 0 to 2", "bad_option"),
        ("?strength=much", photo(), 400, "number from 0 to 2", "bad_option"),
        ("?format=gif", photo(), 400, "use one of jpeg", "bad_option"),
        ("?strenght=1", photo(), 400, "no option 'strenght'", "bad_option"),
    ],
)
def test_whatever_is_wrong_is_one_sentence(client, query, body, status, says, reason) -> None:
    here = client(max_bytes=50_000, max_pixels=30_000)
    answer = here.post(f"/enhance{query}", content=body)
    assert answer.status_code == status and says in sentence(answer)
    assert metric(here, f'cliplit_failures_total{{reason="{reason}"}}') >= 1
    assert metric(here, "cliplit_photos_in_flight") == 0
    assert here.post("/enhance", content=photo()).status_code == 200


def test_damaged_forms_and_other_paths(client) -> None:
    here = client(max_bytes=5000)
    bad = {"content-type": "multipart/form-data; boundary=b"}
    assert "damaged" in sentence(here.post("/enhance", content=b"no boundary at all", headers=bad))
    missing = {"content-type": "multipart/form-data"}
    assert "damaged" in sentence(here.post("/enhance", content=photo(), headers=missing))
    assert "holds no photo" in sentence(here.post("/enhance", files={"note": (None, "text")}))
    assert here.post("/enhance", files={"photo": ("a.jpg", b"\xff" * 6000)}).status_code == 413
    for answer, status in ((here.get("/enhance"), 405), (here.get("/nothing"), 404), (here.get("/docs"), 404)):
        assert answer.status_code == status and sentence(answer)


def test_no_photo_touches_the_disk(client, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("a temporary file was opened")

    here, sent = client(), photo(1600, 1200, "PNG", compress_level=0)
    assert here.post("/enhance", content=sent).status_code == 200  # numba opens one when it compiles
    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert len(sent) > 2**22
    assert here.post("/enhance", content=sent).status_code == 200
    assert here.post("/enhance", files={"photo": ("a.png", sent)}).status_code == 200


def test_more_photos_than_places_are_turned_away_and_told_when_to_come_again(client, shipped, monkeypatch) -> None:
    here, gate = client(concurrency=2), threading.Event()
    original = shipped.served.enhancer.enhance_photo
    monkeypatch.setattr(
        shipped.served.enhancer, "enhance_photo", lambda *args: gate.wait(20) and original(*args), raising=False
    )
    with ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(here.post, "/enhance", content=photo()) for _ in range(2)]
        until = time.monotonic() + 10
        while metric(here, "cliplit_photos_in_flight") < 2 and time.monotonic() < until:
            time.sleep(0.01)
        turned_away = here.post("/enhance", content=photo())
        health = here.get("/healthz").json()
        gate.set()
        assert [future.result().status_code for future in inside] == [200, 200]
    assert turned_away.status_code == 503 and int(turned_away.headers["retry-after"]) >= 1
    assert "2 photos" in sentence(turned_away) and health["status"] == "ok"
    assert here.post("/enhance", content=photo()).status_code == 200
    assert metric(here, 'cliplit_failures_total{reason="busy"}') == 1


def test_what_takes_too_long_is_answered_and_keeps_its_place(client, shipped, monkeypatch) -> None:
    here, gate = client(concurrency=1, timeout=0.3), threading.Event()
    monkeypatch.setattr(shipped.served.enhancer, "enhance_photo", lambda *_: gate.wait(20), raising=False)
    late = here.post("/enhance", content=photo())
    assert late.status_code == 504 and "longer than 0.3 s" in sentence(late)
    assert here.post("/enhance", content=photo()).status_code == 503
    monkeypatch.undo()
    gate.set()
    until = time.monotonic() + 10
    while metric(here, "cliplit_photos_in_flight") and time.monotonic() < until:
        time.sleep(0.01)
    assert here.post("/enhance", content=photo()).status_code in (200, 504)
    assert metric(here, 'cliplit_failures_total{reason="timeout"}') >= 1


def test_a_fault_of_the_program_shows_nothing_of_it(client, shipped, monkeypatch) -> None:
    def break_down(*_):
        raise RuntimeError("secret /etc/path")

    here = client()
    monkeypatch.setattr(shipped.served.enhancer, "enhance_photo", break_down, raising=False)
    answer = here.post("/enhance", content=photo())
    assert answer.status_code == 500 and "secret" not in sentence(answer)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert metric(here, 'cliplit_failures_total{reason="fault"}') >= 1


def test_metrics_and_headers(client) -> None:
    here = client()
    before = metric(here, 'cliplit_requests_total{status="200"}')
    here.post("/enhance", content=photo())
    assert metric(here, 'cliplit_requests_total{status="200"}') == before + 1
    assert metric(here, "cliplit_enhance_seconds_count") >= 1
    assert metric(here, "process_resident_memory_bytes") > 2**20
    assert 'cliplit_model_info{md5="' in here.get("/metrics").text and metric(here, "cliplit_model_version") == 0
    for path in ("/", "/healthz", "/metrics", "/nothing"):
        headers = here.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
