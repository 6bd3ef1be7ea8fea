"""Scenes that do not exist, in linear radiance: each composer paints one kind, backlit or well lit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cliplit.photos.canvas import Canvas, mixed, pick, smoothstep, tint
from cliplit.photos.figures import PLASTER, bricks, building, houses, people, person, walkers
from cliplit.photos.interiors import room, still_life, window_portrait
from cliplit.photos.nature import ground, hills, outdoor_light, sky, tree, weather

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
    level, light = outdoor_light(canvas, backlit)
    sky(canvas, horizon, level, weather(canvas, backlit), sun=backlit and rng.random() < 0.7)
    hills(canvas, horizon, light, level, int(rng.integers(2, 5)))
    ground(canvas, horizon + 0.06, light, pick(rng, ("grass", "grass", "sand", "stone")))
    for _ in range(int(rng.integers(1, 5))):
        near = rng.random()
        base = horizon + 0.05 + near * (canvas.bottom - horizon) * 0.5
        tree(canvas, rng.uniform(0, canvas.right), base, 0.18 + 0.4 * near, light, level if backlit else 0)


def portrait(canvas: Canvas, backlit: bool) -> None:
    """One to three people outdoors, the sky or a sunlit street behind them."""
    rng = canvas.rng
    level, light = outdoor_light(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.5, 0.75)
    sky(canvas, horizon, level, weather(canvas, backlit), sun=backlit and rng.random() < 0.4)
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
    people(canvas, light, level if backlit else 0)


def street(canvas: Canvas, backlit: bool) -> None:
    """House fronts along a street, the sky between them, trees and passers-by."""
    rng = canvas.rng
    level, light = outdoor_light(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.62, 0.78)
    sky(canvas, horizon, level, weather(canvas, backlit), sun=backlit and rng.random() < 0.5)
    houses(canvas, horizon, light, 0)
    ground(canvas, horizon, light, "paving")
    if rng.random() < 0.6:
        tree(
            canvas, rng.uniform(0, canvas.right), horizon + 0.06, rng.uniform(0.3, 0.5), light, level if backlit else 0
        )
    walkers(canvas, horizon, light)


def night_street(canvas: Canvas, backlit: bool) -> None:
    """The street under lamps and lit windows; as a well-lit scene, the same kind of street on an overcast day."""
    rng = canvas.rng
    if not backlit:
        street(canvas, backlit)
        return
    horizon = canvas.bottom * rng.uniform(0.6, 0.75)
    sky(canvas, horizon, rng.uniform(0.04, 0.16), "dusk", sun=False)
    houses(canvas, horizon, rng.uniform(0.02, 0.05), rng.uniform(0.5, 1.2))
    ground(canvas, horizon, 0.035, "paving")
    walkers(canvas, horizon, 0.03)
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
    level, light = outdoor_light(canvas, backlit)
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
    level, light = outdoor_light(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.5, 0.65)
    sky(canvas, horizon, level, weather(canvas, backlit), sun=False)
    far = level * 0.6 if backlit else light
    if rng.random() < 0.5:
        houses(canvas, horizon, far, 0)
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
    level, light = outdoor_light(canvas, backlit)
    horizon = canvas.bottom * rng.uniform(0.4, 0.58)
    sun_x, _ = sky(canvas, horizon, level, weather(canvas, backlit), sun=backlit)
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
