"""Scenes in rooms: windows, people before them, tables and still lifes."""

from __future__ import annotations

import numpy as np

from cliplit.photos.canvas import Canvas, mixed, pick, smoothstep, tint
from cliplit.photos.figures import CLOTH, PLASTER, bricks, people, plaster, things
from cliplit.photos.nature import hills, outdoor_light, sky, tree


def window_portrait(canvas: Canvas, backlit: bool) -> None:
    """People in a room, before a window."""
    _room_with_window(canvas, backlit)
    light = indoor_light(canvas, backlit)
    canvas.defocus(canvas.rng.uniform(0.5, 2.0))
    people(canvas, light, 0.35 if backlit else 0)


def room(canvas: Canvas, backlit: bool) -> None:
    """A room with windows, a table and things on it."""
    rng = canvas.rng
    _room_with_window(canvas, backlit)
    light = indoor_light(canvas, backlit)
    top = canvas.bottom * rng.uniform(0.66, 0.8)
    left, right = canvas.right * rng.uniform(0, 0.3), canvas.right * rng.uniform(0.65, 1)
    wood = tint(rng, (0.34, 0.19, 0.10), 0.04) * (0.5 + canvas.noise(1.8, (3.0, 0.3)))[..., None]
    for leg in (left + 0.03, right - 0.03):
        canvas.paint(canvas.box(leg - 0.012, top, leg + 0.012, canvas.bottom), wood * 0.6, light)
    canvas.paint(canvas.box(left, top, right, top + 0.035), wood, light)
    things(canvas, left + 0.05, right - 0.05, top, light, int(rng.integers(2, 6)))


def still_life(canvas: Canvas, backlit: bool) -> None:
    """Fruit and vases close up on a sill, the window behind."""
    rng = canvas.rng
    level, light = outdoor_light(canvas, backlit)
    sill = canvas.bottom * rng.uniform(0.6, 0.75)
    if backlit or rng.random() < 0.5:
        sky(canvas, sill, level, pick(rng, ("overcast", "haze", "day")), sun=False)
        hills(canvas, sill, (light * level) ** 0.5, level, 2)
        _mullions(canvas, 0, 0, canvas.right, sill, light)
    else:
        canvas.paint(np.ones_like(canvas.x), plaster(canvas, pick(rng, PLASTER)), light)
    grain = 0.5 + 0.9 * canvas.noise(1.6, (2.5, 0.4))
    canvas.paint(canvas.below(sill), tint(rng, (0.45, 0.34, 0.24), 0.06) * grain[..., None], light)
    things(canvas, 0.08, canvas.right - 0.08, sill + 0.05, light, int(rng.integers(4, 8)), 1.9)


def indoor_light(canvas: Canvas, backlit: bool) -> float:
    """Light in a room, away from its windows."""
    return float(canvas.rng.uniform(0.04, 0.12) if backlit else canvas.rng.uniform(0.75, 1.1))


def _room_with_window(canvas: Canvas, backlit: bool) -> None:
    """Walls, floor and one to three windows with the outdoors in them; light falls off from the windows."""
    rng = canvas.rng
    level = rng.uniform(0.9, 1.6) if backlit else rng.uniform(0.9, 1.2)
    sky(canvas, canvas.bottom * 0.55, level, pick(rng, ("day", "overcast", "haze")), sun=False)
    hills(canvas, canvas.bottom * rng.uniform(0.45, 0.6), level * 0.6, level, 2)
    if rng.random() < 0.5:
        tree(canvas, rng.uniform(0, canvas.right), canvas.bottom * 0.6, 0.4, level * 0.5, 0)
    count = int(rng.integers(1, 4))
    top, sill = canvas.bottom * rng.uniform(0.05, 0.16), canvas.bottom * rng.uniform(0.5, 0.66)
    share = canvas.right / count
    openings, spill = np.zeros_like(canvas.x), np.zeros_like(canvas.x)
    edges = []
    for k in range(count):
        wide = share * rng.uniform(0.4, 0.72)
        left = k * share + (share - wide) * rng.uniform(0.2, 0.8)
        edges.append((left, left + wide))
        openings = np.maximum(openings, canvas.box(left, top, left + wide, sill))
        spill = np.maximum(spill, canvas.glow(left + wide / 2, (top + sill) / 2, wide * 0.45))
    ambient = rng.uniform(0.03, 0.08) if backlit else rng.uniform(0.7, 0.95)
    light = ambient * (1 + (3.0 if backlit else 0.35) * spill)
    wall = bricks(canvas, pick(rng, PLASTER), 0.022) if rng.random() < 0.25 else plaster(canvas, pick(rng, PLASTER))
    canvas.paint(1 - openings, wall, light)
    floor = canvas.bottom * rng.uniform(0.8, 0.88)
    depth = np.maximum(canvas.y - floor + 0.1, 0.02)
    plank = (canvas.x - canvas.right / 2) / depth * 3
    boards = 0.55 + 0.5 * canvas.noise(1.6, (0.5, 2)) - 0.25 * smoothstep(np.abs(plank - np.round(plank)), 0.05, 0.01)
    canvas.paint(canvas.below(floor), tint(rng, (0.40, 0.25, 0.14), 0.04) * boards[..., None], light)
    canvas.paint(canvas.box(0, floor - 0.02, canvas.right, floor), (0.66, 0.64, 0.60), light)
    for left, right in edges:
        _mullions(canvas, left, top, right, sill, ambient * 1.4)
        if rng.random() < 0.4:
            folds = 0.6 + 0.4 * np.sin(canvas.x * 220)
            drape = np.maximum(
                canvas.box(left - 0.05, top - 0.02, left + 0.03, sill + 0.08),
                canvas.box(right - 0.03, top - 0.02, right + 0.05, sill + 0.08),
            )
            canvas.paint(drape, tint(rng, pick(rng, CLOTH), 0.03) * folds[..., None], light * 1.5)
    if rng.random() < 0.6:
        x = canvas.right * rng.uniform(0.05, 0.85)
        canvas.paint(canvas.box(x, 0.7 * sill, x + 0.11, 0.7 * sill + 0.09) * (1 - openings), (0.25, 0.16, 0.08), light)
        canvas.paint(
            canvas.box(x + 0.01, 0.7 * sill + 0.01, x + 0.1, 0.7 * sill + 0.08) * (1 - openings),
            mixed(tint(rng, pick(rng, CLOTH)), tint(rng, pick(rng, CLOTH)), canvas.noise(2.4)),
            light,
        )


def _mullions(canvas: Canvas, left: float, top: float, right: float, bottom: float, light: float) -> None:
    """A window's frame and bars."""
    frame = canvas.box(left - 0.012, top - 0.012, right + 0.012, bottom + 0.012) - canvas.box(left, top, right, bottom)
    bars = np.maximum(frame, canvas.box(left - 0.02, bottom, right + 0.02, bottom + 0.018))
    for k in range(1, int(canvas.rng.integers(2, 4))):
        x = left + (right - left) * k / 2
        bars = np.maximum(bars, canvas.box(x - 0.005, top, x + 0.005, bottom))
    y = top + (bottom - top) * 0.4
    bars = np.maximum(bars, canvas.box(left, y - 0.005, right, y + 0.005))
    canvas.paint(bars, 0.62 + 0.15 * canvas.noise(0.8), light)
