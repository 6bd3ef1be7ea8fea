"""Small pictures that look alike only when they have the same seed, at any level of light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cliplit.config import Params, load_params
from cliplit.photos.canvas import noise
from cliplit.photos.codecs import save_jpeg

LEVELS = {"backlit": 0.15, "well_lit": 0.5}


def draw(seed: int, level: float, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A cloudy colour picture with mean ``level``."""
    rng = np.random.default_rng(seed)
    planes = np.stack([noise(rng, size, 3.0) for _ in range(3)], -1)
    shared = noise(rng, size, 3.0)[..., None]
    return np.clip((0.3 * planes + 0.7 * shared) * 2 * level * 255, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    return draw


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Ten photos of each role, each of a scene of its own."""
    made = {}
    for offset, (role, level) in enumerate(LEVELS.items()):
        made[role] = tmp_path / "incoming" / role
        for k in range(10):
            save_jpeg(made[role] / f"{role[0]}{k}.jpg", draw(100 * offset + k, level))
    return made
