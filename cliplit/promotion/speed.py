"""How fast a model is, in a unit that does not depend on how busy this machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from cliplit.enhancer import Enhancer

_SIDE = 1000  # px: one megapixel
_ROUNDS = 5
#: ms that the yardstick takes on two quiet cores (AMD EPYC, 2.4 GHz), where the limit in params.yaml was chosen.
YARDSTICK_MS = 25.0


def ms_per_megapixel(enhancer: Enhancer) -> float:
    """Milliseconds for a photo of one megapixel on the machine of YARDSTICK_MS.

    Model and yardstick, a fixed convolution, take turns; the ratio of their best times is what counts, because other
    work on this machine slows both.
    """
    rows, columns = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    photo = (255 * np.stack([rows, columns, rows * columns], axis=-1)).astype(np.uint8)
    image, kernel = torch.ones(1, 8, 512, 512), torch.ones(8, 8, 3, 3)

    def yardstick() -> None:
        with torch.inference_mode():
            F.conv2d(image, kernel, padding=1)

    times: list[tuple[float, float]] = []
    for _ in range(_ROUNDS + 1):  # the first round warms up
        times.append((_seconds(lambda: enhancer.enhance(photo)), min(_seconds(yardstick) for _ in range(3))))
    ours, theirs = (min(column) for column in zip(*times[1:], strict=True))
    return YARDSTICK_MS * ours / theirs


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
