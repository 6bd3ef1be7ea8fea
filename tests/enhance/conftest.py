"""The enhancer under test, and a scene for it."""

from pathlib import Path

import numpy as np
import pytest

from cliplit.enhancer import Enhancer


@pytest.fixture(scope="session")
def enhancer(weights: Path) -> Enhancer:
    return Enhancer.load(weights, "cpu")


@pytest.fixture
def dark() -> np.ndarray:
    """A dark scene with a bright window, 90 x 120, smooth enough for JPEG."""
    rows, columns = np.mgrid[0:90, 0:120]
    base = 20 + 18 * np.sin(rows / 9) * np.cos(columns / 13)
    scene = np.stack([base, base * 0.8, base * 0.6], axis=2)
    scene[20:50, 70:100] = (230, 225, 215)
    return scene.clip(0, 255).astype(np.uint8)
