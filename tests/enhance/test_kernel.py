"""The compiled pass and thumbnail give what the torch functions that training uses give."""

import multiprocessing
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numba.core.caching
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cliplit.networks import compiled, kernel
from cliplit.networks.denoise import calm_shadows
from cliplit.networks.gain import apply_illumination, guide_of
from cliplit.networks.grid import CELLS, KNOTS, THUMBNAIL, illumination
from cliplit.networks.thumbnail import thumbnail

MOST = 2.3
FULL = {np.uint8: 255, np.uint16: 65535, np.float32: 1}
#: Half a level is rounding's; the rest is the pass's own.
TOLERANCE = {np.uint8: 0.51 / 255, np.uint16: 1 / 65535, np.float32: 1e-5}


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    """Log-gains that fall with the knot, from above MOST to below the least, different in each cell."""
    gains = np.random.default_rng(1).random((KNOTS, CELLS, CELLS)).astype(np.float32) * 3 - 0.4
    return np.sort(gains, axis=0)[::-1].copy()


def photo(height: int, width: int, kind: type, real: bool = False) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    if real:  # dark ground, a bright window, a black bar, some noise
        rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
        scene = np.stack([0.1 + 0.1 * np.sin(9 * rows), 0.1 + 0.05 * columns, 0.08 * np.ones_like(rows)], axis=2)
        scene[height // 5 : height // 2, width // 2 : width * 3 // 4] = (1, 0.97, 0.9)
        scene[: height // 6] = 0
        scene = (scene + rng.normal(0, 0.01, scene.shape)).clip(0, 1)
    else:
        scene = rng.random((height, width, 3)) ** 2
    return (scene * FULL[kind]).astype(kind)


def image_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / FULL[pixels.dtype.type]).permute(2, 0, 1)[None]


def light_of(pixels: np.ndarray, grid: np.ndarray) -> torch.Tensor:
    return illumination(guide_of(image_of(pixels)), torch.from_numpy(grid)[None], MOST)


def expected(pixels: np.ndarray, grid: np.ndarray, strength: float) -> np.ndarray:
    relit = apply_illumination(image_of(pixels), light_of(pixels, grid), strength)
    return relit[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("strength", [0, 0.5, 1, 1.5, 2])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (2, 3), (700, 1), (1, 1300), (33, 517), (311, 254), (256, 1025)],
    ids=lambda size: "{}x{}".format(*size),
)
def test_the_pass_is_the_torch_path(grid, kind, strength, size):
    for real in (False, True):
        pixels = photo(*size, kind, real)
        result = kernel.relight(pixels, grid, MOST, strength)
        assert (result.dtype, result.shape) == (pixels.dtype, pixels.shape)
        error = np.abs(result / np.float64(FULL[kind]) - expected(pixels, grid, strength)).max()
        assert error <= TOLERANCE[kind]


@pytest.mark.parametrize("kind", FULL)
def test_a_map_is_applied_as_torch_does(grid, kind):
    pixels = photo(120, 611, kind, real=True)
    result = kernel.relight_by_map(pixels, light_of(pixels, grid)[0, 0].numpy(), 1.3)
    error = np.abs(result / np.float64(FULL[kind]) - expected(pixels, grid, 1.3)).max()
    assert error <= TOLERANCE[kind]


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("size", [(1, 1), (1, 513), (300, 2), (33, 1024), (40, 700)])
def test_shadows_are_calmed_as_by_torch(grid, kind, size):
    pixels = photo(*size, kind, real=True)
    light = light_of(pixels, grid)
    calm = calm_shadows(image_of(pixels), light.pow(-1.3), 0.02)
    wanted = apply_illumination(calm, light, 1.3)[0].permute(1, 2, 0).numpy()
    result = kernel.relight(pixels, grid, MOST, 1.3, noise=0.02)
    assert np.abs(result / np.float64(FULL[kind]) - wanted).max() <= TOLERANCE[kind]
    if min(size) > 2:
        assert np.abs(wanted - expected(pixels, grid, 1.3)).max() > 0.02


def test_all_levels_and_gains_are_within_one_level(grid):
    """Every grey, and every pair of a level in one channel with another in the other two, under 16 x 16 cells."""
    low, high = np.mgrid[0:256, 0:256].astype(np.uint8)
    pixels = np.stack([low, high, high], axis=2)
    for strength in (0.5, 1, 1.5):
        wanted = np.round(expected(pixels, grid, strength) * 255)
        assert np.abs(kernel.relight(pixels, grid, MOST, strength) - wanted).max() <= 1


def test_the_result_goes_where_it_is_told(grid):
    pixels = photo(40, 70, np.uint8)
    wanted = kernel.relight(pixels, grid, MOST)
    out = np.zeros_like(pixels)
    assert kernel.relight(pixels, grid, MOST, out=out) is out
    assert np.array_equal(out, wanted)
    kernel.relight(pixels, grid, MOST, out=pixels)
    assert np.array_equal(pixels, wanted)


def test_arrays_of_any_layout_are_taken(grid):
    pixels = photo(60, 80, np.uint16)
    wanted = kernel.relight(pixels, grid, MOST)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    odd = np.frombuffer(b"x" + pixels.tobytes(), np.uint8)[1:].view(np.uint16).reshape(pixels.shape)
    for same in (frozen, np.asfortranarray(pixels), np.repeat(pixels, 2, axis=1)[:, ::2], odd):
        assert np.array_equal(kernel.relight(same, grid, MOST), wanted)
        assert torch.equal(thumbnail(same), thumbnail(pixels))


def test_what_is_no_number_stays_in_its_pixel(grid):
    pixels = photo(200, 150, np.float32)
    wanted = kernel.relight(pixels, grid, MOST)
    pixels[3, 5] = np.nan
    pixels[8, 9] = (np.inf, -np.inf, 1e30)
    result = kernel.relight(pixels, grid, MOST)
    for relit in (result, kernel.relight(pixels, grid, MOST, noise=0.02)):
        assert np.isfinite(relit).all() and relit.min() >= 0 and relit.max() <= 1
    wanted[3, 5], wanted[8, 9] = result[3, 5], result[8, 9]
    assert np.array_equal(result, wanted)
    assert thumbnail(pixels).isfinite().all()


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("size", [(128, 128), (129, 200), (333, 128), (2000, 131), (301, 1300), (50, 60), (1, 900)])
def test_the_thumbnail_is_the_antialiased_one(kind, size):
    for real in (False, True):
        pixels = photo(*size, kind, real)
        wanted = F.interpolate(image_of(pixels), size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
        torch.testing.assert_close(thumbnail(pixels), wanted, atol=1e-5, rtol=0)


def test_any_number_of_threads_gives_the_same_bits(grid):
    pixels = photo(700, 900, np.uint8, real=True)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append((kernel.relight(pixels, grid, MOST), thumbnail(pixels)))
            with ThreadPoolExecutor(8) as pool:
                results += pool.map(lambda _: (kernel.relight(pixels, grid, MOST), thumbnail(pixels)), range(8))
    finally:
        torch.set_num_threads(before)
    for relit, small in results:
        assert np.array_equal(relit, results[0][0])
        assert torch.equal(small, results[0][1])


def test_a_process_that_forks_after_use_goes_on(grid):
    """A pool of threads that outlived its call, or GNU OpenMP, would hang or end the child here."""
    pixels = photo(600, 600, np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wanted = kernel.relight(pixels, grid, MOST)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            result = pool.apply_async(kernel.relight, (pixels, grid, MOST)).get(timeout=15)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(result, wanted)


def test_where_no_cache_can_be_written_it_is_compiled_without(grid, monkeypatch):
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    compiled.compiled.cache_clear()
    try:
        pixels = photo(20, 30, np.uint8)
        error = np.abs(kernel.relight(pixels, grid, MOST) / 255 - expected(pixels, grid, 1)).max()
    finally:
        compiled.compiled.cache_clear()
    assert error <= TOLERANCE[np.uint8]


def test_no_array_of_the_photos_size_is_made(enhancer):
    pixels = photo(1500, 2000, np.uint8)
    enhancer.enhance(pixels)
    tracemalloc.start()
    try:
        result = enhancer.enhance(pixels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - result.nbytes < 0.2 * pixels.nbytes
