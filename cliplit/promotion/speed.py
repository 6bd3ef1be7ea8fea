"""How fast a model is, in a unit that does not depend on how busy this machine is: the work of its processor."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from cliplit.enhancer import Enhancer

_SIDE = 1000  # px: one megapixel
_SLOW = 0.5  # s; a model that takes longer for a sixteenth of that is measured on the sixteenth
_ROUNDS = 5
#: ms that the yardstick takes on the core where the limit in params.yaml was chosen.
YARDSTICK_MS = 1.45


def ms_per_megapixel(enhancer: Enhancer) -> float:
    """Milliseconds that one core of the machine of YARDSTICK_MS computes for a photo of one megapixel.

    Time of the processor counts, that of all threads added up, and not that of the clock, in which other work on this
    machine would count too. Model and yardstick, a million powers, take turns; the ratio of their best is the figure.
    """
    small, photo = _photo(_SIDE // 4), _photo(_SIDE)
    values = np.linspace(0.1, 1.0, 1_000_000)
    enhancer.enhance(small)  # the first photo warms up
    if _seconds(lambda: enhancer.enhance(small)) > _SLOW:
        photo = small
    else:
        enhancer.enhance(photo)
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_seconds(lambda: enhancer.enhance(photo)))
        theirs.append(min(_seconds(lambda: np.power(values, 0.45)) for _ in range(3)))
    return YARDSTICK_MS * min(ours) / min(theirs) * _SIDE**2 / photo[..., 0].size


def _photo(side: int) -> np.ndarray:
    """A smooth ramp of colours."""
    rows, columns = np.mgrid[:side, :side] / side
    return (255 * np.stack([rows, columns, rows * columns], axis=-1)).astype(np.uint8)


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
