"""The registered model under MLflow's own server, and in batch."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from serve_project import Project, photo, wait_for

from cliplit.lineage import registry


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Iterator[str]:
    """`mlflow models serve -m models:/cliplit@champion`; the address of its invocations."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "mlflow.db").write_bytes(empty_registry.read_bytes())
    Project(folder).promote(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "OMP_NUM_THREADS": "1",
    }
    command = [*[sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/cliplit@champion"]]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _pings(address), process, 120)
        yield f"{address}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pings(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ping", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _ask(address: str, *photos: object, **params: object) -> httpx.Response:
    body = {"dataframe_split": {"columns": ["photo"], "data": [[each] for each in photos]}, "params": params}
    return httpx.post(address, json=body if params else {"dataframe_split": body["dataframe_split"]}, timeout=60)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.slow
def test_base64_in_base64_out(served) -> None:
    sent = photo(kind="PNG")
    answer = _ask(served, _text(sent), _text(photo(kind="JPEG")), strength=1.0)
    assert answer.status_code == 200
    png, jpeg = (base64.b64decode(row["photo"]) for row in answer.json()["predictions"])
    assert png.startswith(b"\x89PNG") and jpeg.startswith(b"\xff\xd8")
    still = base64.b64decode(_ask(served, _text(sent), strength=0.0).json()["predictions"][0]["photo"])
    pixels = [np.asarray(Image.open(io.BytesIO(data)), float) for data in (sent, still, png)]
    assert np.array_equal(pixels[0], pixels[1]) and abs(pixels[2] - pixels[0]).mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("photos", "params", "says"),
    [
        ([_text(b"hello")], {}, "photo 1: this is not a photo"),
        ([_text(photo()), _text(photo()[:700])], {}, "photo 2: damaged or truncated"),
        ([_text(photo(kind="PNG"))], {"strength": 9.0}, "strength is 9.0; send a number from 0 to 2"),
        ([_text(photo())] * 17, {}, "17 photos in one request; send 1 to 16"),
    ],
)
def test_bad_photos_are_a_bad_request_of_one_sentence(served, photos, params, says) -> None:
    answer = _ask(served, *photos, **params)
    assert answer.status_code == 400 and answer.json()["message"].startswith(says)
    assert "\n" not in answer.json()["message"] and "stack_trace" not in answer.json()


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"photo": "x"}',
        b'{"dataframe_split": 3}',
        b'{"dataframe_split": {"columns": ["picture"], "data": [["x"]]}}',
        json.dumps({"dataframe_split": {"columns": ["photo"], "data": [[3]]}}).encode(),
        json.dumps({"dataframe_split": {"columns": ["photo"], "data": [["?!"]]}}).encode(),
        b'{"dataframe_split": {"columns": ["photo"], "data": [["eA=="]]}, "params": {"strength": "x"}}',
    ],
)
def test_no_answer_holds_a_stack_trace(served, body) -> None:
    answer = httpx.post(served, content=body, headers={"content-type": "application/json"}, timeout=60)
    assert answer.status_code == 400, answer.text
    for word in ("Traceback", "stack_trace", 'File \\"', "site-packages"):
        assert word not in answer.text


def test_in_batch_on_a_table(project) -> None:
    """As a job over many photos uses it: bytes or base64 in, bytes out, in order."""
    project.promote(1)
    import mlflow.pyfunc

    folder = registry.champion_file(project.path).parents[2]
    model = mlflow.pyfunc.load_model(str(folder))
    rows = [photo(64 + 8 * index, 48, "PNG") for index in range(3)]
    relit = model.predict(pd.DataFrame({"photo": rows}), params={"strength": 0.5})["photo"]
    assert [Image.open(io.BytesIO(data)).width for data in relit] == [64, 72, 80]
    assert model.metadata.signature.params.to_dict()[0]["name"] == "strength"
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert base64.b64decode(example["dataframe_split"]["data"][0][0]).startswith(b"\x89PNG")
