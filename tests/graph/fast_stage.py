"""Stands in for `python -m cliplit stage`: writes what the real stages write, in milliseconds."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import yaml

name = sys.argv[1]
round_name = sys.argv[3] if len(sys.argv) > 3 else None
stage = name if round_name is None else f"{name}_{round_name}"


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def note(text: str) -> None:
    Path("work").mkdir(exist_ok=True)
    with Path("work/invocations.txt").open("a") as log:
        log.write(text + "\n")


note(f"start {stage} {time.time()} {os.getpid()} {os.environ.get('CLIPLIT_PIPELINE_RUN')}")
behaviour = Path(f"work/{stage}.behaviour")
how = behaviour.read_text() if behaviour.exists() else ""
if how == "hang":
    for step in range(600):
        print(f"step {step}", flush=True)
        time.sleep(0.1)
if how == "silent":
    time.sleep(60)
if how == "sleep":
    time.sleep(1.0)
if how == "fail":
    print("cliplit: data/photos/backlit: there is no photo in it; import some", file=sys.stderr)
    sys.exit(2)
if how == "crash":
    raise ValueError("shapes differ")

params = yaml.safe_load(Path("params.yaml").read_text())
if name == "curate":
    rows = ["photo,role,split,scene"]
    for role in ("backlit", "well_lit"):
        for split in ("train", "val"):
            rows.append(f"{role}/{split}.jpg,{role},{split},{role}_{'same' if how == 'leak' else split}")
            write(f"artifacts/dataset/photos/{role}/{split}.jpg", f"{role} {split}")
    write("artifacts/dataset/manifest.csv", "\n".join(rows) + "\n")
    write("artifacts/metrics/dataset.json", json.dumps({"photos": 4, "seed": params["seed"]}))
elif name == "start":
    write("artifacts/start/start.json", json.dumps({"from": "scratch", "steps": 1.0}))
    write("artifacts/metrics/start.json", json.dumps({"changed": 1.0, "start": "scratch"}))
elif round_name is not None:
    mine = params["rounds"][round_name][name] if round_name != "0" else params[name]
    file = "prompts.safetensors" if name == "prompts" else "network.safetensors"
    write(f"artifacts/{name}/{round_name}/{file}", f"{stage} {mine} {params['training']}")
    write(f"artifacts/metrics/{stage}.json", json.dumps({"loss": 0.5}))
    write(f"artifacts/plots/{stage}.csv", f"step,loss,identity\n0,1.0,\n1,{'nan' if how == 'nan' else 0.5},0.1\n")
elif name == "select":
    networks = sorted(path.read_text() for path in Path("artifacts/enhancer").rglob("*.safetensors"))
    write("artifacts/model/model.safetensors", "\n".join(networks))
    write("artifacts/metrics/select.json", json.dumps({"score": 0.7}))
elif name == "evaluate":
    write("artifacts/evaluation/per_photo.csv", Path("artifacts/model/model.safetensors").read_text())
    write("artifacts/metrics/evaluation.json", json.dumps({"score": 0.7}))
elif name == "report":
    write("artifacts/report/report.html", "<html></html>")
note(f"end {stage} {time.time()}")
