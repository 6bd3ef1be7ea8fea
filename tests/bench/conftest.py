"""Small rendered test sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cliplit.evaluation import compare
from cliplit.photos.canvas import noise
from cliplit.photos.codecs import save_jpeg, save_png


def draw(seed: int, size: tuple[int, int] = (130, 200)) -> np.ndarray:
    """A cloudy, finely textured colour picture around middle grey."""
    rng = np.random.default_rng(seed)
    planes = np.stack([noise(rng, size, 3.0) for _ in range(3)], -1)
    shared = noise(rng, size, 3.0)[..., None]
    grain = rng.normal(0, 0.03, (*size, 3))
    return np.clip((0.3 * planes + 0.7 * shared + grain) * 255, 0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """pairs/ (3), dark/ (2, one of them the photo of a pair), well_lit/ (6) and peer/ (results for the pairs)."""
    root = tmp_path / "photos"
    for seed in range(3):
        reference = draw(seed)
        save_png(root / "pairs" / "reference" / f"p{seed}.png", reference)
        save_png(root / "pairs" / "backlit" / f"p{seed}.png", compare.gamma(reference, 2.2))
        save_png(root / "peer" / f"p{seed}.png", reference)
    save_png(root / "dark" / "again.png", compare.gamma(draw(1), 2.2))
    save_png(root / "dark" / "other.png", compare.gamma(draw(50), 2.5))
    for seed in range(6):
        save_jpeg(root / "well_lit" / f"w{seed:02}.jpg", draw(100 + seed))
    return root
