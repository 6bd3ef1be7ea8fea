"""The outdoors of the scenes: weather and light, skies, hills, ground, trees."""

from __future__ import annotations

import numpy as np

from cliplit.photos.canvas import Canvas, Colour, mixed, pick, ridge, smoothstep, tint

SKIES: dict[str, tuple[Colour, Colour, Colour]] = {  # zenith, horizon, cloud
    "day": ((0.13, 0.32, 0.72), (0.55, 0.72, 0.90), (0.95, 0.95, 0.96)),
    "overcast": ((0.60, 0.64, 0.70), (0.80, 0.81, 0.82), (0.50, 0.53, 0.58)),
    "sunset": ((0.20, 0.26, 0.55), (0.98, 0.55, 0.22), (0.85, 0.36, 0.26)),
    "haze": ((0.55, 0.62, 0.70), (0.92, 0.86, 0.74), (0.95, 0.93, 0.90)),
    "dusk": ((0.06, 0.09, 0.26), (0.62, 0.34, 0.36), (0.22, 0.17, 0.30)),
}


def outdoor_light(canvas: Canvas, backlit: bool) -> tuple[float, float]:
    """Light of the sky, and on the things before it: a tenth of it or less when backlit."""
    rng = canvas.rng
    if backlit:
        return float(rng.uniform(0.9, 1.6)), float(np.exp(rng.uniform(np.log(0.035), np.log(0.13))))
    return float(rng.uniform(0.75, 1.1)), float(rng.uniform(0.85, 1.25))


def weather(canvas: Canvas, backlit: bool) -> str:
    """The name of a sky that suits the role."""
    kinds = tuple(SKIES) if backlit else ("day", "day", "overcast", "haze")
    return str(pick(canvas.rng, kinds))


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
