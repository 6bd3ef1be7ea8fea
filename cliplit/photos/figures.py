"""What stands in the scenes: skies, hills, trees, buildings, walls, people."""

from __future__ import annotations

from typing import Any

import numpy as np

from cliplit.photos.canvas import Array, Canvas, Colour, mixed, ridge, smoothstep, tint

SKIN: tuple[Colour, ...] = (
    (0.72, 0.48, 0.36),
    (0.62, 0.38, 0.26),
    (0.45, 0.26, 0.17),
    (0.27, 0.15, 0.10),
    (0.80, 0.58, 0.47),
)
HAIR: tuple[Colour, ...] = (
    (0.04, 0.03, 0.03),
    (0.12, 0.07, 0.04),
    (0.30, 0.18, 0.08),
    (0.45, 0.33, 0.16),
    (0.32, 0.30, 0.29),
)
CLOTH: tuple[Colour, ...] = (
    (0.55, 0.08, 0.08),
    (0.08, 0.16, 0.45),
    (0.10, 0.35, 0.16),
    (0.70, 0.55, 0.12),
    (0.60, 0.60, 0.62),
    (0.35, 0.12, 0.38),
    (0.10, 0.42, 0.46),
    (0.75, 0.36, 0.12),
    (0.10, 0.10, 0.12),
    (0.72, 0.40, 0.50),
)
PLASTER: tuple[Colour, ...] = (
    (0.62, 0.54, 0.42),
    (0.50, 0.30, 0.22),
    (0.55, 0.58, 0.60),
    (0.68, 0.62, 0.55),
    (0.42, 0.48, 0.40),
    (0.66, 0.50, 0.34),
)
SKIES: dict[str, tuple[Colour, Colour, Colour]] = {  # zenith, horizon, cloud
    "day": ((0.13, 0.32, 0.72), (0.55, 0.72, 0.90), (0.95, 0.95, 0.96)),
    "overcast": ((0.60, 0.64, 0.70), (0.80, 0.81, 0.82), (0.50, 0.53, 0.58)),
    "sunset": ((0.20, 0.26, 0.55), (0.98, 0.55, 0.22), (0.85, 0.36, 0.26)),
    "haze": ((0.55, 0.62, 0.70), (0.92, 0.86, 0.74), (0.95, 0.93, 0.90)),
    "dusk": ((0.06, 0.09, 0.26), (0.62, 0.34, 0.36), (0.22, 0.17, 0.30)),
}


def pick(rng: np.random.Generator, options: Any) -> Any:
    """One of ``options``."""
    return options[int(rng.integers(len(options)))]


def sky(canvas: Canvas, horizon: float, level: float, kind: str, sun: bool) -> tuple[float, float]:
    """Paint a sky over everything; returns where the sun stands (painted when ``sun``)."""
    rng = canvas.rng
    zenith, low, cloud = SKIES[kind]
    height = smoothstep(canvas.y, -0.05, horizon * 1.05)
    colour = mixed(tint(rng, zenith, 0.03), tint(rng, low, 0.03), height)
    wide = 1.5 + 4 * rng.random()
    cover = rng.uniform(0.42, 0.68)
    clouds = smoothstep(canvas.noise(3.1, (wide, 1.0)), cover, cover + 0.22) * rng.uniform(0.4, 1.0)
    relief = 0.72 + 0.5 * canvas.noise(3.0, (wide, 1.0))
    canvas.paint(np.ones_like(canvas.x), colour, level)
    canvas.paint(clouds, np.clip(np.array(cloud, np.float32) * relief[..., None], 0, 1), level * rng.uniform(0.9, 1.5))
    place = (float(rng.uniform(0.15, 0.85) * canvas.right), float(horizon * rng.uniform(0.25, 0.9)))
    if sun:
        warm: Colour = (1.0, 0.82, 0.55) if kind in {"sunset", "dusk"} else (1.0, 0.95, 0.85)
        halo = canvas.glow(*place, rng.uniform(0.05, 0.12)) ** np.float32(1.4)
        canvas.light *= 1 + 4 * halo[..., None] * np.array(warm, np.float32)
        canvas.albedo += (np.array(warm, np.float32) - canvas.albedo) * np.clip(1.2 * halo, 0, 1)[..., None]
        canvas.paint(canvas.ellipse(*place, 0.018, 0.018), (1, 0.97, 0.9), level * 12)
    return place


def hills(canvas: Canvas, horizon: float, light: float, far_light: float, layers: int) -> None:
    """Ridges one before the other, paler with distance; ``far_light`` is the sky's."""
    rng = canvas.rng
    green = rng.random() < 0.65
    base: Colour = (0.16, 0.26, 0.09) if green else (0.36, 0.27, 0.18)
    for layer in range(layers):
        nearness = (layer + 1) / layers
        top = horizon - (1 - nearness) * rng.uniform(0.03, 0.08) + nearness * 0.05
        line = top - ridge(rng, canvas.width, rng.uniform(0.1, 0.6)) * rng.uniform(0.06, 0.2) * (1.2 - 0.6 * nearness)
        grain = canvas.noise(1.4) * 0.7 + canvas.noise(2.6) * 0.6
        colour = tint(rng, base, 0.03) * (0.45 + grain[..., None])
        haze = (1 - nearness) ** 1.5 * 0.75
        canvas.paint(
            canvas.below(line),
            colour * (1 - haze) + haze * np.array((0.5, 0.58, 0.68), np.float32),
            light * (1 - haze) + far_light * 0.55 * haze,
        )


def ground(canvas: Canvas, horizon: float, light: float, kind: str) -> None:
    """Grass, sand, stone or paving from ``horizon`` down, coarser towards the viewer."""
    rng = canvas.rng
    depth = np.maximum(canvas.y - horizon, 1e-3)
    near = smoothstep(depth, 0, canvas.bottom - horizon + 1e-3)
    fine, coarse = canvas.noise(0.6), canvas.noise(2.2, (2.5, 1.0))
    base: dict[str, Colour] = {
        "grass": (0.17, 0.30, 0.07),
        "sand": (0.56, 0.46, 0.30),
        "stone": (0.36, 0.34, 0.32),
        "paving": (0.42, 0.39, 0.36),
    }
    texture = 0.55 + 0.5 * coarse + (fine - 0.5) * (0.5 + 0.9 * near)
    if kind == "paving":
        across = (canvas.x - canvas.right / 2) / depth * 2.4
        along = 0.35 / depth
        joints = np.minimum(np.abs(across - np.round(across)), np.abs(along - np.round(along)))
        texture *= 0.62 + 0.38 * smoothstep(joints, 0.01, 0.08)
    canvas.paint(canvas.below(horizon), tint(rng, base[kind], 0.03) * texture[..., None], light * (0.75 + 0.25 * near))


def tree(canvas: Canvas, x: float, base: float, size: float, light: float, backlight: float) -> None:
    """A tree with trunk, boughs and a leafy crown; ``backlight`` shines through the thin leaves."""
    rng = canvas.rng
    bark = tint(rng, (0.20, 0.13, 0.08), 0.02) * (0.5 + canvas.noise(1.2, (0.3, 2.0)))[..., None]
    top = base - size * 0.55
    canvas.albedo *= 1 - 0.45 * canvas.ellipse(x + 0.1 * size, base, 0.32 * size, 0.04 * size)[..., None]
    canvas.paint(canvas.stroke((x, base), (x + rng.normal(0, 0.02), top), 0.035 * size, 0.02 * size), bark, light)
    conifer = rng.random() < 0.25
    for _ in range(0 if conifer else 5):
        end = (x + rng.normal(0, 0.2) * size, top - rng.uniform(0.05, 0.35) * size)
        canvas.paint(canvas.stroke((x, top + 0.1 * size), end, 0.014 * size, 0.004 * size), bark, light)
    field, lit = np.full_like(canvas.x, -1), np.zeros_like(canvas.x)
    for k in range(14):
        t = k / 13
        if conifer:
            cx, cy, r = x + rng.normal(0, 0.03) * size, base - size * (0.25 + 0.75 * t), size * (0.22 * (1 - t) + 0.03)
        else:
            angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.27 * size
            cx, cy, r = (
                x + far * np.cos(angle),
                top - 0.12 * size + 0.8 * far * np.sin(angle),
                size * rng.uniform(0.10, 0.18),
            )
        blob = 1 - ((canvas.x - cx) ** 2 + (canvas.y - cy) ** 2) / np.float32(r * r)
        np.maximum(lit, np.clip(blob, 0, 1) * (0.6 - 0.5 * np.clip((canvas.y - cy) / r, -1, 1)), out=lit)
        np.maximum(field, blob, out=field)
    leaves = canvas.noise(0.9)
    mask = smoothstep(field + (leaves - 0.5) * 1.9 + (canvas.noise(2.0) - 0.5), 0.02, 0.22)
    mask *= smoothstep(field, -0.5, -0.3)
    hue: Colour = pick(rng, ((0.13, 0.30, 0.06), (0.22, 0.32, 0.07), (0.09, 0.22, 0.08), (0.48, 0.26, 0.05)))
    colour = tint(rng, hue, 0.025) * (0.35 + 0.9 * lit + 0.9 * (leaves - 0.35))[..., None]
    through = np.clip(0.35 - field, 0, 0.35) * backlight
    canvas.paint(mask, np.clip(colour, 0.01, 1), light + 0.5 * through)


def bricks(canvas: Canvas, colour: Colour, size: float) -> Array:
    """Albedo HxWx3 of brickwork with bricks ``size`` high."""
    row = np.floor(canvas.y / size)
    across = canvas.x / (size * 2.4) + 0.5 * (row % 2)
    joint = np.minimum(np.abs(across - np.round(across)) * 2.4, np.abs(canvas.y / size - np.round(canvas.y / size)))
    shade = canvas.rng.uniform(0.65, 1.15, (64, 64)).astype(np.float32)
    each = shade[row.astype(int) % 64, np.round(across).astype(int) % 64]
    wall = tint(canvas.rng, colour, 0.03) * (each * (0.75 + 0.5 * canvas.noise(1.0)))[..., None]
    return mixed((0.45, 0.43, 0.40), wall, smoothstep(joint, 0.03, 0.12))


def plaster(canvas: Canvas, colour: Colour) -> Array:
    """Albedo HxWx3 of a plastered or papered wall: stains, grain, sometimes stripes."""
    rng = canvas.rng
    wall = tint(rng, colour, 0.04) * (0.68 + 0.35 * canvas.noise(2.8) + 0.22 * canvas.noise(0.4))[..., None]
    if rng.random() < 0.35:
        stripes = 0.5 + 0.5 * np.sin(canvas.x * np.float32(rng.uniform(60, 160)))
        wall *= 1 - 0.22 * smoothstep(stripes, 0.4, 0.6)[..., None]
    return np.clip(wall, 0, 1).astype(np.float32)


def building(canvas: Canvas, left: float, right: float, top: float, base: float, light: float, night: float) -> None:
    """A house front with windows; ``night`` > 0 is the light of the lit ones."""
    rng = canvas.rng
    body = canvas.box(left, top, right, base)
    wall = (
        bricks(canvas, pick(rng, PLASTER), rng.uniform(0.008, 0.014))
        if rng.random() < 0.4
        else plaster(canvas, pick(rng, PLASTER))
    )
    side = 0.8 + 0.2 * smoothstep(canvas.x, left, right)
    canvas.paint(body, wall * side[..., None], light)
    if rng.random() < 0.5:
        rise = rng.uniform(0.04, 0.1)
        slope = top - rise * (1 - np.abs((canvas.x - (left + right) / 2) / ((right - left) / 2)))
        roof = canvas.below(slope) * (1 - canvas.below(top)) * canvas.box(left, 0, right, base)
        canvas.paint(
            roof, tint(rng, (0.36, 0.15, 0.10), 0.03) * (0.6 + 0.7 * canvas.noise(0.8, (1, 3)))[..., None], light
        )
    columns, rows = (
        max(2, int((right - left) / rng.uniform(0.05, 0.08))),
        max(2, int((base - top) / rng.uniform(0.07, 0.1))),
    )
    u, v = (canvas.x - left) / (right - left) * columns, (canvas.y - top) / (base - top) * rows
    wide, tall = rng.uniform(0.18, 0.33), rng.uniform(0.24, 0.36)
    edge = np.float32(columns / (right - left)) * canvas.pixel
    inside = np.minimum(wide - np.abs(u % 1 - 0.5), tall - np.abs(v % 1 - 0.5))
    table = rng.random((64, 64)).astype(np.float32)[np.floor(v).astype(int) % 64, np.floor(u).astype(int) % 64]
    canvas.paint(body * smoothstep(inside, -2.2 * edge, -1.2 * edge), (0.72, 0.70, 0.66), light)
    panes = body * smoothstep(inside, -edge, edge)
    canvas.paint(panes, mixed((0.05, 0.06, 0.08), (0.30, 0.36, 0.44), table * (1 - 0.6 * (v % 1))), light)
    if night:
        canvas.paint(panes * (table > 0.55), mixed((0.9, 0.55, 0.25), (0.95, 0.80, 0.55), table), night * (0.4 + table))


def person(canvas: Canvas, x: float, y: float, r: float, light: float, rim: float) -> None:
    """Head and shoulders at head centre (x, y), half width ``r``; ``rim`` is light from behind on the outline."""
    rng = canvas.rng
    skin, hair, cloth = (tint(rng, pick(rng, palette), 0.02) for palette in (SKIN, HAIR, CLOTH))
    long_hair = rng.random() < 0.5
    if long_hair:
        strands = 0.6 + 0.8 * canvas.noise(1.6, (0.2, 3.0))
        canvas.paint(canvas.ellipse(x, y + 0.45 * r, 1.28 * r, 1.95 * r), hair * strands[..., None], light)
    _torso(canvas, x, y, r, cloth, light, rim)
    canvas.paint(canvas.box(x - 0.42 * r, y + 0.8 * r, x + 0.42 * r, y + 1.75 * r), skin * 0.62, light)
    u, v = (canvas.x - x) / np.float32(r), (canvas.y - y) / np.float32(1.3 * r)
    jaw = 1 + 0.22 * np.clip(v, 0, 1) ** 2
    distance = np.hypot(u * jaw, v)
    depth = np.sqrt(np.clip(1 - distance**2, 0, 1))
    side = np.float32(rng.choice((-1.0, 1.0)))
    shade = 0.42 + 0.62 * np.clip(0.35 * side * u - 0.35 * v + 0.85 * depth, 0, 1)
    nose = np.exp(-((u / 0.13) ** 2) - ((v - 0.12) / 0.24) ** 2)
    shade += 0.10 * nose - 0.16 * np.exp(-(((u + side * 0.17) / 0.09) ** 2) - ((v - 0.2) / 0.2) ** 2)
    shade -= 0.12 * np.exp(-((u / 0.5) ** 2) - ((v - 0.33) / 0.05) ** 2)
    cheeks = np.exp(-(((np.abs(u) - 0.5) / 0.22) ** 2) - ((v - 0.25) / 0.18) ** 2)
    face = skin * shade[..., None] * (1 + cheeks[..., None] * np.array((0.10, -0.06, -0.05), np.float32))
    edge = canvas.pixel / np.float32(r)
    mask = smoothstep(1 - distance, -edge, edge)
    canvas.paint(mask, face * (0.94 + 0.12 * canvas.noise(1.0))[..., None], light + 0.6 * rim * (1 - depth) ** 6)
    for eye in (-0.38, 0.38):
        canvas.paint(canvas.ellipse(x + eye * r, y - 0.1 * r, 0.17 * r, 0.085 * r), (0.72, 0.70, 0.68), light)
        iris = tint(rng, (0.16, 0.11, 0.07), 0.02)
        canvas.paint(canvas.ellipse(x + eye * r, y - 0.1 * r, 0.085 * r, 0.085 * r), iris, light)
        canvas.paint(canvas.ellipse(x + eye * r, y - 0.1 * r, 0.04 * r, 0.04 * r), 0.01, light)
        canvas.paint(canvas.ellipse(x + eye * r, y - 0.3 * r, 0.22 * r, 0.04 * r) * 0.85, hair, light)
    canvas.paint(
        canvas.ellipse(x, y + 0.66 * r, 0.30 * r, 0.075 * r), skin * np.array((0.8, 0.42, 0.42), np.float32), light
    )
    canvas.paint(canvas.ellipse(x, y + 0.655 * r, 0.28 * r, 0.014 * r), skin * 0.2, light)
    strands = 0.5 + 0.9 * canvas.noise(1.5, (0.4, 2.0))
    fringe = -0.52 + 0.25 * u * side + 0.12 * (canvas.noise(1.8, (0.3, 2.0)) - 0.5)
    scalp = smoothstep(1.1 - np.hypot(u, v * 0.97), -edge, edge)
    cap = scalp * smoothstep(fringe - v + 0.6 * np.clip(np.abs(u) - 0.72, 0, 1) * (2.4 if long_hair else 1.5), 0, 0.08)
    canvas.paint(cap, hair * strands[..., None], light + rim * np.clip(np.hypot(u, v) - 0.75, 0, 1) * 2)


def _torso(canvas: Canvas, x: float, y: float, r: float, cloth: Array, light: float, rim: float) -> None:
    u, v = (canvas.x - x) / np.float32(2.3 * r), (canvas.y - y - 1.45 * r) / np.float32(r)
    distance = 1 - np.abs(u) ** 3 - np.clip(0.9 - v, 0, 5) ** 2
    folds = canvas.noise(2.4, (0.5, 1.2))
    shade = 0.4 + 0.35 * np.sqrt(np.clip(1 - u * u, 0, 1)) + 0.6 * (folds - 0.3)
    pattern = canvas.rng.random()
    if pattern < 0.3:
        shade = shade * (0.55 + 0.45 * smoothstep(np.sin(v * 9), -0.2, 0.2))
    elif pattern < 0.5:
        shade = shade * (0.6 + 0.2 * smoothstep(np.sin(v * 8), -0.2, 0.2) + 0.2 * smoothstep(np.sin(u * 18), -0.2, 0.2))
    edge = canvas.pixel / np.float32(r)
    outline = rim * np.clip(0.12 - distance, 0, 0.12) * 5
    canvas.paint(smoothstep(distance, -edge, 2 * edge), np.clip(cloth * shade[..., None], 0.005, 1), light + outline)
