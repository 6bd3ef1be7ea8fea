"""Demo photos: unpaired backlit and well-lit sets of scenes that do not exist, and a few relit pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cliplit.errors import UserError
from cliplit.photos.camera import Camera, expose, meter_average, meter_highlights
from cliplit.photos.codecs import list_files, save_jpeg
from cliplit.photos.importing import DEMO_NAME, PAIR_SIDES, PHOTO_ROOT, ROLES
from cliplit.photos.scenes import render_scene

_STREAMS = {"backlit": 1, "well_lit": 2, "pairs": 3}
_RELIT = 0.28  # the power of the light in a reference: a ratio of 30 between sky and face becomes one of 2.6


def render_photo(role: str, seed: int, index: int) -> NDArray[np.uint8]:
    """Demo photo ``index`` of ``role``, uint8 HxWx3; equal arguments give equal bytes."""
    rng = np.random.default_rng([seed, _STREAMS[role], index])
    radiance = render_scene(rng, index, backlit=role == "backlit").radiance()
    exposure = _backlit_exposure(radiance, rng) if role == "backlit" else meter_average(radiance, rng.uniform(0.2, 0.3))
    return expose(radiance, exposure, Camera.draw(rng), rng)


def render_pair(seed: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A backlit photo and the same view well lit, both uint8 HxWx3."""
    rng = np.random.default_rng([seed, _STREAMS["pairs"], index])
    canvas = render_scene(rng, index, backlit=True)
    radiance, relit = canvas.radiance(), canvas.radiance(_RELIT)
    backlit = expose(radiance, _backlit_exposure(radiance, rng), Camera.draw(rng), rng)
    return backlit, expose(relit, meter_average(relit, 0.22), Camera.draw(rng, clean=True), rng)


def render_demo(project: Path, seed: int = 0, count: int = 60, pairs: int = 12) -> str:
    """Render a demo set into ``project``/data/photos and return a sentence about it.

    Demo photos rendered before are replaced; raises UserError when other photos lie there.
    """
    root = project / PHOTO_ROOT
    folders = [*(root / role for role in ROLES), *(root / "pairs" / side for side in PAIR_SIDES)]
    present = [path for folder in folders if folder.is_dir() for path in list_files(folder)]
    foreign = next((path for path in present if not DEMO_NAME.fullmatch(path.name)), None)
    if foreign is not None:
        raise UserError(f"{foreign}: photos of your own lie in {PHOTO_ROOT}; use another folder for the demo")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    wanted = set()
    with tqdm(total=2 * count + pairs, desc="rendering", unit="photo", disable=None) as bar:
        for role in ROLES:
            for index in range(count):
                path = root / role / f"demo_{role}_{index:03d}.jpg"
                save_jpeg(path, render_photo(role, seed, index))
                wanted.add(path)
                bar.update()
        for index in range(pairs):
            for side, pixels in zip(PAIR_SIDES, render_pair(seed, index), strict=True):
                path = root / "pairs" / side / f"demo_pair_{index:03d}.jpg"
                save_jpeg(path, pixels)
                wanted.add(path)
            bar.update()
    for path in present:
        if path not in wanted:
            path.unlink()
    return f"rendered {count} backlit and {count} well-lit photos and {pairs} pairs into {PHOTO_ROOT}"


def _backlit_exposure(radiance: NDArray[np.float32], rng: np.random.Generator) -> float:
    """Metered for the bright background, never so that dark things come out well lit."""
    bright = meter_highlights(radiance, rng.uniform(88, 97))
    return min(bright, meter_average(radiance, rng.uniform(0.03, 0.07)))
