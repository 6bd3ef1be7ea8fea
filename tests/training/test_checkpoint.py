from __future__ import annotations

import os
import resource
import time

import pytest
import torch

from cliplit.errors import UserError
from cliplit.training.checkpoint import Checkpoints, adam_state, fingerprint, load_adam


def state(step: int, size: int = 3) -> dict:
    weights = torch.full((size,), float(step))
    return {
        "step": step,
        "module": {"a.b": weights},
        "adam": {"0": {"m": weights / 3}},
        "curve": [{"loss": 0.1 * step}],
    }


def test_a_state_comes_back_to_the_last_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "f")
    assert checkpoints.latest() is None
    checkpoints.save(state(7))
    back = Checkpoints(tmp_path / "run" / "f").latest()
    assert back["step"] == 7 and back["curve"] == [{"loss": 0.1 * 7}]
    assert torch.equal(back["adam"]["0"]["m"], torch.full((3,), 7.0) / 3)


def test_the_newest_two_are_kept_and_the_newest_wins(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "f")
    for step in (5, 50, 500):
        checkpoints.save(state(step))
    assert sorted(path.name for path in checkpoints.folder.glob("*.json")) == [
        "step-00000050.json",
        "step-00000500.json",
    ]
    assert len(list(checkpoints.folder.iterdir())) == 4
    assert checkpoints.latest()["step"] == 500


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "no json", "torn json", "json of something else"])
def test_a_damaged_newest_is_skipped(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path / "run" / "f")
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    path = checkpoints.folder / "step-00000002.safetensors"
    data = path.read_bytes()
    if damage == "flipped bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncated":
        path.write_bytes(data[:-4])
    elif damage == "no json":
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text('{"sha256": "ab' if damage == "torn json" else "[1]")
    assert checkpoints.latest()["step"] == 1
    assert ("step-00000002.json is damaged" in caplog.text) == (damage != "no json")


def test_a_full_disk_is_one_sentence_and_costs_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "f")
    checkpoints.save(state(1))
    before = sorted(path.name for path in checkpoints.folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"step-00000002.safetensors: no space left on the disk; free some"):
            checkpoints.save(state(2, size=50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == before
    assert checkpoints.latest()["step"] == 1


def test_adam_goes_on_as_if_it_had_never_stopped():
    def steps(weight, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            (weight.sin().square().sum()).backward()
            optimizer.step()

    whole = torch.nn.Parameter(torch.arange(1.0, 6.0))
    steps(whole, torch.optim.Adam([whole], lr=0.1, weight_decay=0.01), 7)
    part = torch.nn.Parameter(torch.arange(1.0, 6.0))
    first = torch.optim.Adam([part], lr=0.1, weight_decay=0.01)
    steps(part, first, 3)
    second = torch.optim.Adam([part], lr=0.1, weight_decay=0.01)
    load_adam(second, adam_state(first))
    steps(part, second, 4)
    assert torch.equal(part, whole)


def test_the_fingerprint_follows_settings_and_bytes(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    first = fingerprint({"lr": 0.1}, [tmp_path / "in"], tmp_path)
    assert fingerprint({"lr": 0.1}, [tmp_path / "in"], tmp_path) == first
    assert fingerprint({"lr": 0.2}, [tmp_path / "in"], tmp_path) != first
    (tmp_path / "in" / "a").write_text("2")
    assert fingerprint({"lr": 0.1}, [tmp_path / "in"], tmp_path) != first


def test_only_the_newest_runs_are_remembered(tmp_path):
    for number in range(5):
        folder = tmp_path / "run" / str(number)
        Checkpoints(folder)
        os.utime(folder, (time.time() - 100 + number,) * 2)
    Checkpoints(tmp_path / "run" / "0")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["0", "3", "4"]
