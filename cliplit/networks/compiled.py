"""Loops over pixels, compiled by numba on first use and run by several threads.

The threads are Python's own and live for one call. Numba's ``parallel=True`` was left aside: its portable threading
layer must not be entered by two threads at once, and GNU OpenMP's kills a process that forks after it was used.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch

#: Sums may be reordered, but NaN and infinity keep their meaning: floats from outside may be either.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
}
_STRIPS = 4  # for each thread, so that a thread that is held up does not hold up the photo


@cache
def compiled(function: Callable[..., None], *signature: numba.types.Type) -> Callable[..., None]:
    """``function`` compiled for arguments of these types, from numba's cache on disk where that can be written.

    The cache lies beside the module, or below NUMBA_CACHE_DIR or the user's cache folder if that is read-only.
    """
    wanted = numba.void(*signature)
    try:
        return numba.njit(wanted, cache=True, **OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(wanted, **OPTIONS)(function)


def in_strips(work: Callable[[int, int], None], length: int, worth: int) -> None:
    """Call ``work(start, stop)`` on strips that cover 0..length, on as many threads as torch uses.

    ``worth`` is how many pixels one unit of ``length`` stands for: little work stays in the caller's thread.
    """
    threads = min(torch.get_num_threads(), length, length * worth // 2**17)
    if threads < 2:
        work(0, length)
        return
    edges = np.linspace(0, length, min(length, threads * _STRIPS) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def plain(array: np.ndarray) -> np.ndarray:
    """``array`` as compiled code takes it: C-contiguous and aligned; copied only where it is not."""
    return np.require(array, requirements=["C", "A"])
