"""How fast photos are relit on this machine, and in how much memory. Ratios are taken within one run.

Times are the least of several: on a machine that does anything else too, more is somebody else's work.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cliplit.bench import memory
from cliplit.bench.subjects import papers_network, picture
from cliplit.enhancer import Enhancer, shipped
from cliplit.networks import passes
from cliplit.networks.denoise import noise_level
from cliplit.networks.gain import apply_illumination
from cliplit.networks.grid import GridNetwork
from cliplit.networks.thumbnail import thumbnail
from cliplit.networks.tiles import pieces
from cliplit.photos.codecs import read_photo, save_jpeg, write_photo

FULL_HD, UHD, LARGE = (1080, 1920), (2160, 3840), (8192, 12288)


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``target`` is a bound that ``value`` shall keep: at least it, or with ``most`` at most."""

    name: str
    value: float
    unit: str
    target: float | None = None
    most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.most else self.value >= self.target


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **{name: version(name) for name in ("torch", "numba", "numpy", "pillow")},
    }


def measure(quick: bool = False, large: bool = False, say: Callable[[str], None] = lambda text: None) -> list[Figure]:
    """All figures; ``quick`` takes smaller photos, of which targets do not hold, and ``large`` adds 100 megapixels."""
    figures: list[Figure] = []
    fast, slow = Enhancer.load(shipped("grid"), "cpu"), Enhancer(papers_network())
    with tempfile.TemporaryDirectory() as folder:
        say("arrays")
        figures += on_arrays(fast, *(FULL_HD), repeats=5 if quick else 30)
        say("files")
        figures += on_files(fast, Path(folder), (2000, 3000) if quick else (4000, 6000), repeats=2 if quick else 5)
        say("threads")
        figures += in_threads(fast, Path(folder), (1000, 1500) if quick else (2000, 3000), count=4 if quick else 8)
        say("the paper's network")
        figures += papers(fast, slow, *((270, 480) if quick else FULL_HD), repeats=1 if quick else 2)
        if large:
            say("100 megapixels through the paper's network, some minutes")
            figures += on_large(Path(folder))
    if torch.cuda.is_available():
        say("the GPU")
        figures += on_gpu(repeats=50)
    return [Figure(each.name, each.value, each.unit) for each in figures] if quick else figures


def best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` calls, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def on_arrays(fast: Enhancer, height: int, width: int, repeats: int) -> list[Figure]:
    """The fast network from array to array, and its parts."""
    pixels = picture(height, width)
    network = fast.network
    assert isinstance(network, GridNetwork)
    small, grid = thumbnail(pixels), fast.predict(pixels)
    with torch.inference_mode():
        parts = {
            "thumbnail": best(lambda: thumbnail(pixels), repeats),
            "network and grid": best(lambda: network.predict_from(small), repeats),
            "full-size pass": best(lambda: fast.apply(pixels, grid), repeats),
        }
    whole = best(lambda: fast.enhance(pixels), repeats)
    name = f"fast network, {width} x {height} on arrays"
    return [
        Figure(name, 1 / whole, "frames/s", 30),
        *(Figure(f"{name}: {part}", seconds * 1000, "ms") for part, seconds in parts.items()),
    ]


def on_files(fast: Enhancer, folder: Path, size: tuple[int, int], repeats: int) -> list[Figure]:
    """A JPEG file to a JPEG file; its memory in a process of its own."""
    source, target = folder / "large.jpg", folder / "large_relit.jpg"
    save_jpeg(source, picture(*size))
    photo = read_photo(source)
    relit = fast.enhance_photo(photo)
    reading = best(lambda: read_photo(source), repeats)
    writing = best(lambda: write_photo(relit, target, overwrite=True), repeats)
    whole = best(lambda: write_photo(fast.enhance_photo(read_photo(source)), target, overwrite=True), repeats)
    name = f"fast network, {size[0] * size[1] / 1e6:.0f}-megapixel JPEG file to file"
    used = memory.measure(source, target, shipped("grid"))
    return [
        Figure(name, whole, "s", 1.5, most=True),
        Figure(f"{name}: decoding and encoding", (reading + writing) / whole, "of the time", 0.5),
        Figure(f"{name}: decoding", reading, "s"),
        Figure(f"{name}: encoding", writing, "s"),
        *([Figure(f"{name}: peak memory", used.multiple, "x the 8-bit photo", 6, most=True)] if used else []),
    ]


def in_threads(fast: Enhancer, folder: Path, size: tuple[int, int], count: int) -> list[Figure]:
    """A folder of JPEG files as ``cliplit enhance --jobs`` relights it."""
    from threading import Lock

    turn = Lock()
    sources = [folder / f"{index}.jpg" for index in range(count)]
    for source in sources:
        save_jpeg(source, picture(*size))

    def one(source: Path) -> None:
        photo = read_photo(source)
        with turn:
            relit = fast.enhance_photo(photo)
        write_photo(relit, folder / "relit.jpg", overwrite=True)

    def all_of_them(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, sources))

    threads = min(4, os.cpu_count() or 1)
    alone, together = (best(lambda jobs=jobs: all_of_them(jobs), 2) for jobs in (1, threads))  # type: ignore[misc]
    name = f"folder of {size[0] * size[1] / 1e6:.1f}-megapixel JPEGs"
    return [
        Figure(f"{name}, --jobs 1", count / alone, "photos/s"),
        Figure(f"{name}, --jobs {threads}", count / together, "photos/s"),
    ]


def papers(fast: Enhancer, slow: Enhancer, height: int, width: int, repeats: int) -> list[Figure]:
    """The paper's network in tiles beside its plain form, and beside the fast network."""
    pixels, network = picture(height, width), slow.network
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255

    def plain() -> np.ndarray:
        with torch.inference_mode():
            result = apply_illumination(image, network(image))
        done: np.ndarray = result[0].mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
        return done

    with torch.inference_mode():
        light = slow.illumination(passes.to_image(pixels, slow.device))
        whole = passes.relight_by_map(pixels, light, 1.0, noise_level(pixels))
    del light
    tiled = slow.enhance(pixels)
    eager, ours = best(plain, repeats), best(lambda: slow.enhance(pixels), repeats)
    quickest = best(lambda: fast.enhance(pixels), 20)
    error = np.square(whole.astype(np.float64) - tiled).mean()
    name = f"paper's network, {width} x {height}"
    return [
        Figure(f"{name}: in one piece, plain", eager, "s"),
        Figure(f"{name}: in tiles", ours, "s"),
        Figure(f"{name}: plain over tiles", eager / ours, "times faster", 1.5),
        Figure(f"{name}: plain over the fast network", eager / quickest, "times faster", 200),
        Figure(f"{name}: in tiles over the fast network", ours / quickest, "times faster", 200),
        Figure(f"{name}: tiles against one piece", float(10 * np.log10(255**2 / max(error, 1e-10))), "dB", 45),
        Figure(f"{name}: seam", seam(pixels, tiled, whole), "usual steps added", 0.5, most=True),
    ]


def seam(before: np.ndarray, tiled: np.ndarray, whole: np.ndarray) -> float:
    """How much more the change jumps at a border of tiles than there in one piece, in usual jumps: the largest."""
    found = [0.0]
    for axis in (0, 1):
        borders = [piece.start - 1 for piece in pieces(before.shape[axis])[1:]]
        expected = _jumps(before, whole, axis)
        added = np.abs(_jumps(before, tiled, axis) - expected)[borders]
        found += list(added / max(1e-9, float(np.median(np.abs(expected)))))
    return float(max(found))


def _jumps(before: np.ndarray, after: np.ndarray, axis: int) -> np.ndarray:
    """The mean step of the log-gain from each row (or column) to the next."""
    change = np.log((after.astype(np.float32) + 1) / (before.astype(np.float32) + 1)).mean(axis=2)
    steps: np.ndarray = np.diff(change, axis=axis).mean(axis=1 - axis)
    return steps


def on_large(folder: Path) -> list[Figure]:
    """100 megapixels through the paper's network, file to file in a process of its own."""
    source = folder / "huge.jpg"
    save_jpeg(source, picture(*LARGE), quality=90)
    used = memory.measure(source, folder / "huge_relit.jpg", None)
    if used is None:
        return []
    return [
        Figure("paper's network, 100-megapixel JPEG file to file: peak memory", used.peak / 1e9, "GB", 2, most=True),
        Figure("paper's network, 100-megapixel JPEG file to file", used.seconds, "s"),
    ]


def on_gpu(repeats: int) -> list[Figure]:
    """The fast network on frames that are on the GPU already, and with their way there and back."""
    enhancer = Enhancer.load(shipped("grid"), "cuda")
    pixels = picture(*UHD)
    frame = torch.from_numpy(pixels).permute(2, 0, 1).cuda()

    def there() -> None:
        enhancer(frame)
        torch.cuda.synchronize()

    name = "fast network, 3840 x 2160 on the GPU"
    return [
        Figure(f"{name}, tensors that are there", 1 / best(there, repeats), "frames/s", 240),
        Figure(f"{name}, arrays", 1 / best(lambda: enhancer.enhance(pixels), repeats), "frames/s"),
    ]
