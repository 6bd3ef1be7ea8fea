"""What people made, and people: walls, houses, things, heads and shoulders, passers-by."""

from __future__ import annotations

import numpy as np

from cliplit.photos.canvas import Array, Canvas, Colour, mixed, pick, smoothstep, tint

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


def houses(canvas: Canvas, base: float, light: float, night: float) -> None:
    """Two rows of fronts that leave a gap of sky; ``night`` is the light in their windows."""
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


def things(
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


def people(canvas: Canvas, light: float, rim: float) -> None:
    """One to three people side by side at the lower edge; ``rim`` is light from behind."""
    rng = canvas.rng
    count = int(rng.choice((1, 1, 2, 3)))
    for k in range(count):
        r = float(np.clip(canvas.right / count * rng.uniform(0.17, 0.24), 0.05, 0.17 * canvas.bottom))
        x = canvas.right * (k + 0.5) / count + rng.normal(0, 0.03)
        person(canvas, x, canvas.bottom - r * rng.uniform(2.8, 4.2), r, light, rim)


def walkers(canvas: Canvas, horizon: float, light: float) -> None:
    """Up to three small figures on the street."""
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
