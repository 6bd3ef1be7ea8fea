"""cliplit bench speed: what a figure means, that seams and memory are found, and the command from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cliplit.bench import memory, speed, speed_table
from cliplit.bench.speed import Figure
from cliplit.bench.subjects import papers_network, picture
from cliplit.enhancer import Enhancer, shipped
from cliplit.networks.tiles import pieces
from cliplit.photos.codecs import read_photo, save_jpeg


def test_a_target_is_a_bound_from_the_right_side() -> None:
    assert Figure("a", 31, "frames/s", 30).met is True and Figure("a", 29, "frames/s", 30).met is False
    assert Figure("a", 1.4, "s", 1.5, most=True).met is True and Figure("a", 1.6, "s", 1.5, most=True).met is False
    assert Figure("a", 1, "s").met is None


def test_table_and_json_say_the_same_and_name_the_machine() -> None:
    figures = [Figure("one", 0.1234, "s", 0.1, most=True), Figure("two", 1234.5, "dB")]
    table = speed_table.markdown(figures).splitlines()
    assert table[2:4] == ["| one | 0.123 s | at most 0.1 | no |", "| two | 1234 dB |  |  |"]
    assert table[-1].startswith("Machine: cores ") and "torch 2" in table[-1]
    read = json.loads(speed_table.as_json(figures))
    assert [each["value"] for each in read["figures"]] == [0.1234, 1234.5]
    assert [each["met"] for each in read["figures"]] == [False, None]
    assert read["machine"]["cores"] >= 1


def test_the_least_of_several_times_counts() -> None:
    waits = iter([0.0, 0.03, 0.001, 0.03])
    import time

    assert 0.001 <= speed.best(lambda: time.sleep(next(waits)), 3) < 0.02


def test_a_step_at_a_tile_s_border_is_a_seam_and_one_elsewhere_is_none() -> None:
    before = picture(300, 500)
    whole = np.clip(before * np.linspace(1.2, 1.5, 500)[None, :, None], 0, 255).astype(np.uint8)
    border = pieces(500)[1].start
    found = []
    for column in (border, border + 40):
        stepped = whole.copy()
        stepped[:, column:] = np.clip(stepped[:, column:] * 1.05, 0, 255)
        found.append(speed.seam(before, stepped, whole))
    assert found[0] > 1 and found[1] < 0.5
    assert speed.seam(before, whole, whole) == 0


def test_the_two_networks_on_arrays(enhancer_pair: tuple[Enhancer, Enhancer]) -> None:
    fast, slow = enhancer_pair
    figures = {each.name: each for each in speed.papers(fast, slow, 200, 260, repeats=1)}
    name = "paper's network, 260 x 200"
    assert figures[f"{name}: tiles against one piece"].met
    assert figures[f"{name}: seam"].met
    ratio = figures[f"{name}: in one piece, plain"].value / figures[f"{name}: in tiles"].value
    assert figures[f"{name}: plain over tiles"].value == pytest.approx(ratio)
    whole, *parts = speed.on_arrays(fast, 240, 320, repeats=3)
    assert whole.unit == "frames/s" and len(parts) == 3 and all(0 < part.value < 1000 for part in parts)


@pytest.fixture(scope="module")
def enhancer_pair() -> tuple[Enhancer, Enhancer]:
    return Enhancer.load(shipped("grid"), "cpu"), Enhancer(papers_network())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc")
def test_memory_is_measured_above_what_was_held_before(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a.jpg", picture(1500, 2000))
    used = memory.measure(tmp_path / "a.jpg", tmp_path / "b.jpg", shipped("grid"))
    assert used is not None and used.photo == 1500 * 2000 * 3
    assert 1 < used.multiple < 12, "the photo itself and the result are there at the same time, and not much more"
    assert read_photo(tmp_path / "b.jpg").pixels.shape == (1500, 2000, 3)


@pytest.mark.slow
def test_one_command_measures_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cliplit", "bench", "speed", "--quick", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [each["name"] for each in json.loads(done.stdout)["figures"]]
    for part in ("on arrays", "file to file", "peak memory", "--jobs 1", "plain over tiles", "one piece", "seam"):
        assert any(part in name for name in names), part
    assert "measuring files" in done.stderr
    assert list(tmp_path.iterdir()) == []
