"""Scenes that do not exist, in linear radiance: each composer paints one kind, backlit or well lit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cliplit.photos.canvas import Canvas, mixed, smoothstep, tint
from cliplit.photos.figures import (
    CLOTH,
    PLASTER,
    SKIES,
    bricks,
    building,
    ground,
    hills,
    person,
    pick,
    plaster,
    sky,
    tree,
)

LONG_SIDES = (384, 416, 448, 480)
ASPECTS = (3 / 4, 2 / 3, 4 / 5, 9 / 16)


def render_scene(rng: np.random.Generator, index: int, backlit: bool) -> Canvas:
    """A painted scene; ``index`` walks through the kinds, everything else is drawn from ``rng``."""
    side, aspect = pick(rng, LONG_SIDES), pick(rng, ASPECTS)
    compose = COMPOSERS[index % len(COMPOSERS)]
    tall = rng.random() < (0.6 if compose in (portrait, window_portrait) else 0.25)
    short = int(side * aspect) // 2 * 2
    canvas = Canvas(side if tall else short, short if tall else side, rng)
    compose(canvas, backlit)
    return canvas


def landscape(canvas: Canvas, backlit: bool) -> None:
    """Hills and trees under a large sky."""
    rng = canvas.rng
    horizon = canvas.bottom * rng.uniform(0.45, 0.68)
    level, light = _outdoor(canvas, backlit)
    sky(canvas, horizon, level, _weather(canvas, backlit), sun=backlit and rng.random() < 0.7)
    hills(canvas, horizon, light, level, int(rng.integers(2, 5)))
    ground(canvas, horizon + 0.06, light, pick(rng, ("grass", "grass", "sand", "stone")))
    for _ in range(int(rng.integers(1, 5))):
        near = rng.random()
        base = horizon + 0.05 + near * (canvas.bottom - horizon) * 0.5
        tree(canvas, rng.uniform(0, canvas.right), base, 0.18 + 0.4 * near, light, level if backlit else 0)


def portrait(canvas: Canvas, backlit: bool) -> None:
    """One to three people outdoors, the sky or a sunlit street behind them."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.5, 0.75)
    sky(canvas, horizon, level, _weather(canvas, backlit), sun=backlit and rng.random() < 0.4)
    if rng.random() < 0.6:
        hills(canvas, horizon, (light * level) ** 0.5 if backlit else light, level, 2)
    else:
        for k in range(4):
            left = canvas.right * (k / 4 + rng.uniform(-0.05, 0.05))
            top = horizon - rng.uniform(0.1, 0.35)
            building(
                canvas, left, left + rng.uniform(0.15, 0.25), top, canvas.bottom, light * 1.5 if backlit else light, 0
            )
    ground(canvas, horizon + 0.05, light, pick(rng, ("grass", "sand", "paving")))
    canvas.defocus(rng.uniform(0.6, 3.0))
    _people(canvas, light, level if backlit else 0)


def window_portrait(canvas: Canvas, backlit: bool) -> None:
    """People in a room, before a window."""
    _room_with_window(canvas, backlit)
    light = _indoor_light(canvas, backlit)
    canvas.defocus(canvas.rng.uniform(0.5, 2.0))
    _people(canvas, light, 0.35 if backlit else 0)


def room(canvas: Canvas, backlit: bool) -> None:
    """A room with windows, a table and things on it."""
    rng = canvas.rng
    _room_with_window(canvas, backlit)
    light = _indoor_light(canvas, backlit)
    top = canvas.bottom * rng.uniform(0.66, 0.8)
    left, right = canvas.right * rng.uniform(0, 0.3), canvas.right * rng.uniform(0.65, 1)
    wood = tint(rng, (0.34, 0.19, 0.10), 0.04) * (0.5 + canvas.noise(1.8, (3.0, 0.3)))[..., None]
    for leg in (left + 0.03, right - 0.03):
        canvas.paint(canvas.box(leg - 0.012, top, leg + 0.012, canvas.bottom), wood * 0.6, light)
    canvas.paint(canvas.box(left, top, right, top + 0.035), wood, light)
    _things(canvas, left + 0.05, right - 0.05, top, light, int(rng.integers(2, 6)))


def still_life(canvas: Canvas, backlit: bool) -> None:
    """Fruit and vases close up on a sill, the window behind."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    sill = canvas.bottom * rng.uniform(0.6, 0.75)
    if backlit or rng.random() < 0.5:
        sky(canvas, sill, level, pick(rng, ("overcast", "haze", "day")), sun=False)
        hills(canvas, sill, (light * level) ** 0.5, level, 2)
        _mullions(canvas, 0, 0, canvas.right, sill, light)
    else:
        canvas.paint(np.ones_like(canvas.x), plaster(canvas, pick(rng, PLASTER)), light)
    grain = 0.5 + 0.9 * canvas.noise(1.6, (2.5, 0.4))
    canvas.paint(canvas.below(sill), tint(rng, (0.45, 0.34, 0.24), 0.06) * grain[..., None], light)
    _things(canvas, 0.08, canvas.right - 0.08, sill + 0.05, light, int(rng.integers(4, 8)), 1.9)


def street(canvas: Canvas, backlit: bool) -> None:
    """House fronts along a street, the sky between them, trees and passers-by."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.62, 0.78)
    sky(canvas, horizon, level, _weather(canvas, backlit), sun=backlit and rng.random() < 0.5)
    _houses(canvas, horizon, light, 0)
    ground(canvas, horizon, light, "paving")
    if rng.random() < 0.6:
        tree(
            canvas, rng.uniform(0, canvas.right), horizon + 0.06, rng.uniform(0.3, 0.5), light, level if backlit else 0
        )
    _walkers(canvas, horizon, light)


def night_street(canvas: Canvas, backlit: bool) -> None:
    """The street under lamps and lit windows; as a well-lit scene, the same kind of street on an overcast day."""
    rng = canvas.rng
    if not backlit:
        street(canvas, backlit)
        return
    horizon = canvas.bottom * rng.uniform(0.6, 0.75)
    sky(canvas, horizon, rng.uniform(0.04, 0.16), "dusk", sun=False)
    _houses(canvas, horizon, rng.uniform(0.02, 0.05), rng.uniform(0.5, 1.2))
    ground(canvas, horizon, 0.035, "paving")
    _walkers(canvas, horizon, 0.03)
    warm = np.array((1.0, 0.72, 0.40), np.float32)
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(0.05, 0.95) * canvas.right, horizon - rng.uniform(0.12, 0.3)
        canvas.paint(canvas.stroke((x, horizon + 0.03), (x, y), 0.005, 0.003), 0.05, 0.05)
        canvas.light += 0.45 * (canvas.glow(x, y, 0.06) ** np.float32(1.3))[..., None] * warm
        halo = canvas.glow(x, y, 0.012)
        canvas.paint(np.clip(halo, 0, 1) ** np.float32(1.2), warm, 2.5)
        shine = np.exp(-(((canvas.x - x) / 0.02) ** 2)) * canvas.below(horizon) * (0.3 + canvas.noise(1.0, (0.3, 2)))
        canvas.light += 0.5 * shine[..., None] * warm


def forest(canvas: Canvas, backlit: bool) -> None:
    """Trunks and undergrowth, the sky shining through the canopy."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    sky(canvas, canvas.bottom * 0.7, level, pick(rng, ("day", "overcast", "haze")), sun=backlit and rng.random() < 0.5)
    floor = canvas.bottom * rng.uniform(0.68, 0.82)
    ground(canvas, floor, light, "grass")
    for layer in (0.35, 0.7, 1.0):
        shade = light * (1 + (1 - layer) * (1.6 if backlit else 0.3))
        for _ in range(int(rng.integers(2, 5))):
            x, wide = rng.uniform(0, canvas.right), 0.022 * layer * rng.uniform(0.6, 1.5)
            bark = tint(rng, (0.24, 0.17, 0.11), 0.03) * (0.3 + 1.2 * canvas.noise(1.3, (0.2, 2.5)))[..., None]
            canvas.paint(
                canvas.stroke((x, floor + 0.08 * layer), (x + rng.normal(0, 0.05), -0.1), wide, wide * 0.6), bark, shade
            )
        leaves, clumps = canvas.noise(0.9), canvas.noise(2.4)
        crown = clumps + (leaves - 0.5) * 0.9 + 0.32 * layer - 0.55 * smoothstep(canvas.y, 0.0, floor) - 0.2
        hue = tint(rng, pick(rng, ((0.15, 0.32, 0.06), (0.24, 0.34, 0.08), (0.42, 0.30, 0.07))), 0.03)
        albedo = np.clip(hue * (0.2 + 1.5 * leaves * clumps + 0.5 * clumps)[..., None], 0.01, 1)
        canvas.paint(smoothstep(crown, 0.42, 0.52), albedo, shade * (1 + 1.2 * leaves if backlit else 1))
    ferns = canvas.noise(1.1, (0.5, 1.5))
    bush = smoothstep(canvas.y - floor - 0.1 + 0.25 * (ferns - 0.3) + 0.1 * canvas.noise(2.5), 0, 0.02)
    canvas.paint(bush, tint(rng, (0.14, 0.28, 0.07), 0.02) * (0.2 + 1.5 * ferns)[..., None], light)


def archway(canvas: Canvas, backlit: bool) -> None:
    """Looking out of a vaulted passage of brick or stone into the light."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.5, 0.65)
    sky(canvas, horizon, level, _weather(canvas, backlit), sun=False)
    far = level * 0.6 if backlit else light
    if rng.random() < 0.5:
        _houses(canvas, horizon, far, 0)
    else:
        hills(canvas, horizon, far, level, 3)
        tree(canvas, rng.uniform(0.3, 0.7) * canvas.right, horizon + 0.08, 0.3, far, 0)
    ground(canvas, horizon + 0.05, far, "paving")
    x, foot = canvas.right * rng.uniform(0.35, 0.65), canvas.bottom * rng.uniform(0.8, 0.92)
    wide, spring = canvas.right * rng.uniform(0.16, 0.3), canvas.bottom * rng.uniform(0.35, 0.5)
    arch = np.maximum(canvas.ellipse(x, spring, wide, wide), canvas.box(x - wide, spring, x + wide, foot))
    reach = np.hypot(canvas.x - x, canvas.y - spring) / wide
    wall = bricks(canvas, pick(rng, PLASTER), rng.uniform(0.018, 0.035))
    spill = light * (0.55 + 1.3 / (1 + (reach - 0.9).clip(0) ** 2 * 8)) if backlit else light
    rim = 1 - 0.45 * smoothstep(reach, 1.2, 1.12)
    canvas.paint(1 - arch, wall * rim[..., None], spill)
    floor = canvas.below(foot)
    canvas.paint(
        floor,
        tint(rng, (0.36, 0.33, 0.30), 0.03) * (0.4 + 1.1 * canvas.noise(1.4, (2, 1)))[..., None],
        light * (1 + 2.0 * canvas.glow(x, foot, 0.15)) if backlit else light,
    )
    if rng.random() < 0.6:
        r = rng.uniform(0.07, 0.12)
        person(canvas, x + rng.normal(0, 0.4) * wide, canvas.bottom - 3.4 * r, r, light, 0.4 * level if backlit else 0)


def lake(canvas: Canvas, backlit: bool) -> None:
    """Water under the sky, its reflection in ripples, a dark shore with trees before it."""
    rng = canvas.rng
    level, light = _outdoor(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.4, 0.58)
    sun_x, _ = sky(canvas, horizon, level, _weather(canvas, backlit), sun=backlit)
    hills(canvas, horizon - 0.05, (light * level) ** 0.5 if backlit else light, level, 2)
    waves = canvas.noise(1.7, (6.0, 0.7))
    rows = np.clip((2 * horizon - canvas.y) / canvas.pixel + (waves - 0.5) * 40, 0, canvas.height - 1).astype(int)
    columns = np.broadcast_to(np.arange(canvas.width), rows.shape)
    water = 0.25 + 0.65 * waves
    mirrored = mixed((0.05, 0.10, 0.13), (1, 1, 1), water) * canvas.albedo[rows, columns]
    glitter = np.exp(-(((canvas.x - sun_x) / 0.07) ** 2)) * smoothstep(waves, 0.5, 0.75) * (4 if backlit else 0.3)
    canvas.paint(
        canvas.below(horizon), mirrored, canvas.light[rows, columns].clip(0, 3 * level) * (0.8 + glitter[..., None])
    )
    shore = (
        canvas.bottom
        - 0.02
        - 0.2 * canvas.bottom * smoothstep(np.abs(canvas.x - rng.uniform(0, 1) * canvas.right), 0.55, 0)
    )
    stones = 0.35 + canvas.noise(1.8) + 0.5 * (canvas.noise(0.7) - 0.5)
    canvas.paint(
        canvas.below(shore + 0.05 * (canvas.noise(2.2) - 0.5)),
        tint(rng, (0.33, 0.29, 0.22), 0.03) * stones[..., None],
        light,
    )
    for _ in range(int(rng.integers(1, 3))):
        tree(
            canvas,
            rng.choice((0.08, 0.9)) * canvas.right + rng.normal(0, 0.05),
            canvas.bottom - 0.03,
            rng.uniform(0.4, 0.75),
            light,
            level if backlit else 0,
        )


COMPOSERS: tuple[Callable[[Canvas, bool], None], ...] = (
    portrait,
    landscape,
    window_portrait,
    street,
    forest,
    room,
    archway,
    lake,
    still_life,
    night_street,
)


def _outdoor(canvas: Canvas, backlit: bool) -> tuple[float, float]:
    """Light of the sky and on the things before it."""
    rng = canvas.rng
    if backlit:
        return float(rng.uniform(0.9, 1.6)), float(np.exp(rng.uniform(np.log(0.035), np.log(0.13))))
    return float(rng.uniform(0.75, 1.1)), float(rng.uniform(0.85, 1.25))


def _indoor_light(canvas: Canvas, backlit: bool) -> float:
    return float(canvas.rng.uniform(0.04, 0.12) if backlit else canvas.rng.uniform(0.75, 1.1))


def _weather(canvas: Canvas, backlit: bool) -> str:
    kinds = tuple(SKIES) if backlit else ("day", "day", "overcast", "haze")
    return str(pick(canvas.rng, kinds))


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


def _people(canvas: Canvas, light: float, rim: float) -> None:
    rng = canvas.rng
    count = int(rng.choice((1, 1, 2, 3)))
    for k in range(count):
        r = float(np.clip(canvas.right / count * rng.uniform(0.17, 0.24), 0.05, 0.17 * canvas.bottom))
        x = canvas.right * (k + 0.5) / count + rng.normal(0, 0.03)
        person(canvas, x, canvas.bottom - r * rng.uniform(2.8, 4.2), r, light, rim)


def _walkers(canvas: Canvas, horizon: float, light: float) -> None:
    for _ in range(int(canvas.rng.integers(0, 4))):
        x, size = canvas.rng.uniform(0.1, 0.9) * canvas.right, canvas.rng.uniform(0.08, 0.16)
        foot = horizon + 0.02 + 0.4 * size
        cloth, legs = tint(canvas.rng, pick(canvas.rng, CLOTH)), tint(canvas.rng, pick(canvas.rng, CLOTH)) * 0.6
        for step in (-0.08, 0.08):
            canvas.paint(
                canvas.stroke((x, foot - 0.5 * size), (x + step * size, foot), 0.07 * size, 0.05 * size), legs, light
            )
        canvas.paint(
            canvas.stroke((x, foot - 0.8 * size), (x, foot - 0.45 * size), 0.13 * size, 0.1 * size), cloth, light
        )
        canvas.paint(canvas.ellipse(x, foot - 0.95 * size, 0.065 * size, 0.08 * size), (0.5, 0.32, 0.24), light)


def _houses(canvas: Canvas, base: float, light: float, night: float) -> None:
    """Two rows of fronts that leave a gap of sky."""
    rng = canvas.rng
    gap, wide = canvas.right * rng.uniform(0.3, 0.7), canvas.right * rng.uniform(0.08, 0.2)
    for start, end in ((-0.05, gap - wide), (gap + wide, canvas.right + 0.05)):
        left = start
        while left < end - 0.05:
            right = min(end, left + rng.uniform(0.14, 0.28))
            near = abs((left + right) / 2 - gap) / canvas.right
            building(
                canvas, left, right, base - base * rng.uniform(0.3, 0.55) - 0.5 * near * base, base + 0.02, light, night
            )
            left = right


def _things(
    canvas: Canvas, left: float, right: float, base: float, light: float, count: int, scale: float = 1.0
) -> None:
    """Round fruit, vases and books in a row, each shaded to its form, with its shadow."""
    rng = canvas.rng
    for k in range(count):
        x = left + (right - left) * (k + rng.uniform(0.2, 0.8)) / count
        r = scale * rng.uniform(0.02, 0.045)
        colour = tint(rng, pick(rng, CLOTH), 0.03)
        canvas.paint(canvas.ellipse(x + 0.4 * r, base, 1.2 * r, 0.22 * r) * 0.6, 0.06, light)
        kind = rng.random()
        tall = r if kind < 0.5 else r * rng.uniform(1.4, 2.4)
        u, v = (canvas.x - x) / np.float32(r), (canvas.y - base + tall) / np.float32(tall)
        depth = np.sqrt(np.clip(1 - u * u - (v * v if kind < 0.5 else 0), 0, 1))
        shade = 0.22 + 0.7 * np.clip(0.75 * depth - 0.4 * u - (0.35 * v if kind < 0.5 else 0), 0, 1)
        gloss = np.exp(-(((u + 0.35) / 0.13) ** 2) - ((v + 0.35) / 0.16) ** 2)[..., None]
        body = (
            canvas.ellipse(x, base - tall, r, tall) if kind < 0.8 else canvas.box(x - r, base - 2 * tall, x + r, base)
        )
        spots = 0.85 + 0.3 * canvas.noise(1.6)
        canvas.paint(body, np.clip(colour * (shade * spots)[..., None] + 0.45 * gloss, 0, 1), light)
