"""Arrays turned upright by their EXIF orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def upright(stored: NDArray[Any], orientation: object) -> NDArray[Any]:
    """``stored`` (H x W or H x W x C) as it is to be seen; an ``orientation`` other than 2..8 changes nothing."""
    turned = {
        2: lambda: stored[:, ::-1],
        3: lambda: stored[::-1, ::-1],
        4: lambda: stored[::-1],
        5: lambda: stored.swapaxes(0, 1),
        6: lambda: np.rot90(stored, -1),
        7: lambda: stored[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(stored),
    }
    return np.ascontiguousarray(turned[orientation]() if orientation in turned else stored)
