"""Made-up things with a layout: wire grid, bottle, nut, solar cells."""

from __future__ import annotations

import cv2
import numpy as np

from blemish.synthesis._procedural_scene import (
    Field,
    Points,
    Rng,
    Scene,
    around,
    box,
    inside,
    jittered_axes,
    mix,
    noise,
    octaves,
    ramp,
    surface,
    tinted,
    to_image,
    unit_of,
)

# Amber glass from the lit bottom outwards: share of the radius, then red, green and blue there.
_RADII = (0.0, 0.20, 0.36, 0.40, 0.44, 0.50, 0.60, 0.64, 0.70, 0.86, 0.97, 1.0)
_GLASS = (
    (_RADII, (0.86, 0.74, 0.40, 0.16, 0.34, 0.42, 0.30, 0.12, 0.10, 0.16, 0.09, 0.06)),
    (_RADII, (0.60, 0.45, 0.20, 0.07, 0.19, 0.26, 0.16, 0.06, 0.05, 0.08, 0.04, 0.03)),
    (_RADII, (0.26, 0.16, 0.07, 0.03, 0.10, 0.15, 0.08, 0.03, 0.02, 0.03, 0.02, 0.02)),
)


def grid(rng: Rng, size: tuple[int, int]) -> Scene:
    """A welded wire grid over a dark tray: round wires, crossings one over the other."""
    u = unit_of(size)
    pitch, radius = 34 * u, max(4.2 * u, 1.2)
    x, y = jittered_axes(rng, size, turn=5, shift=17)
    bent_x, bent_y = (a + 0.8 * u * noise(rng, x, y, 60 * u) for a in (x, y))
    from_x, from_y = np.abs(bent_x % pitch - pitch / 2), np.abs(bent_y % pitch - pitch / 2)
    wire_x, wire_y = inside(from_x - radius), inside(from_y - radius)
    tone = 1 + 0.05 * octaves(rng, x, y, 12 * u) + 0.04 * noise(rng, x, y, 1.5 * u)
    tray = surface(
        tinted((0.17, 0.19, 0.22), 1 + 0.07 * octaves(rng, x, y, 30 * u)),
        height=-14 * u,
        raw=(0.2, 0.2, 0.2),
    )
    round_x = np.sqrt(np.clip(radius**2 - from_x**2, 0, None))
    round_y = np.sqrt(np.clip(radius**2 - from_y**2, 0, None)) + 0.5 * radius
    part = np.maximum(wire_x, wire_y)
    height = np.where(part > 0, np.maximum(round_x * wire_x, round_y * wire_y), 0)
    steps = (np.arange(-24, 24) + 0.5) * pitch
    crossings = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)
    beside, below = np.array([pitch / 2, 0]), np.array([0, pitch / 2])
    upright = _spots(size, x, y, crossings + below, 3 * radius, 0.7 * pitch)
    level = _spots(size, x, y, crossings + beside, 0.7 * pitch, 3 * radius)
    return surface(
        mix(tray.albedo, tinted((0.58, 0.59, 0.60), tone), part),
        height=mix(tray.height, height, part),
        gloss=0.35 * part,
        part=part,
        raw=(0.75, 0.5, 0.3),
        under=tray,
        spots=np.concatenate([upright, level]),
    )


def bottle(rng: Rng, size: tuple[int, int]) -> Scene:
    """An amber bottle seen into its mouth on a bright panel: shoulder, rim, lit bottom."""
    u, radius = unit_of(size), min(size) * 0.40 * rng.uniform(0.985, 1.015)
    x, y = jittered_axes(rng, size, turn=180, shift=3 * min(size) / 256)
    r = np.hypot(x, y) / radius
    profile = r + 0.012 * noise(rng, x, y, 0.5 * radius)
    glass = np.stack([np.interp(profile, *channel) for channel in _GLASS], axis=2)
    glass = glass.astype(np.float32) * (1 + 0.06 * octaves(rng, x, y, 0.3 * radius))[..., None]
    still_x, still_y = around(size, size[1] / 2, size[0] / 2)  # bottles turn, lamps stay
    bearing = np.arctan2(still_y, still_x)
    key, fill = ramp(0.72, 0.92, np.cos(bearing - 3.75)), ramp(0.8, 0.95, np.cos(bearing - 0.6))
    shoulder, lip = (np.exp(-(((profile - at) / 0.02) ** 2)) for at in (0.90, 0.53))
    glass += (0.5 * (key + 0.7 * fill) * (shoulder + 0.8 * lip))[..., None]
    part = inside((r - 1) * radius)
    panel = surface(
        tinted((0.86, 0.87, 0.86), 1 + 0.01 * octaves(rng, x, y, 60 * u)), raw=(0.9, 0.9, 0.9)
    )
    rim = np.sqrt(np.clip(1 - ((r - 0.52) / 0.09) ** 2, 0, None)) * 0.05 * radius
    height = (rim + 0.08 * radius * ramp(1.0, 0.75, r)) * part
    ring = 0.585 * radius * _directions(24)
    return surface(
        mix(panel.albedo, glass, part),
        height=height,
        gloss=0.05 * part,
        part=part,
        raw=(0.85, 0.75, 0.6),
        under=panel,
        spots=_spots(size, x, y, ring, 0.16 * radius, 0.16 * radius),
    )


def nut(rng: Rng, size: tuple[int, int]) -> Scene:
    """A zinc-plated hexagon nut on a grey belt, any way round."""
    u, across = unit_of(size), min(size) * 0.34 * rng.uniform(0.99, 1.01)
    x, y = jittered_axes(rng, size, turn=180, shift=8 * min(size) / 256)
    r, scale = np.hypot(x, y), across / 87
    flat = np.max([x * cos + y * sin for cos, sin in _directions(6)], axis=0) - across
    bore = 0.56 * across
    part = inside(flat) * inside(bore - r)
    belt_tone = 1 + 0.05 * octaves(rng, x, y, 8 * u) + 0.05 * noise(rng, x, y, 1.5 * u)
    belt = surface(
        tinted((0.30, 0.33, 0.35), belt_tone),
        height=0.25 * u * noise(rng, x, y, 2 * u),
        raw=(0.4, 0.4, 0.4),
    )
    top = 15 * scale - np.clip(r - 0.99 * across, 0, None) * 0.55  # turned chamfer on the corners
    top = top - 3.5 * scale * ramp(bore + 7 * scale, bore, r)  # countersink
    bearing = np.arctan2(y, x)
    turned = noise(rng, r, 0 * r, 1.3 * scale) + 0.5 * noise(
        rng, bearing * across, r, 40 * u, 2 * u
    )
    thread = 0.5 + 0.5 * np.cos(r * (2 * np.pi / (5.5 * scale)))
    wall = ramp(bore - 19 * scale, bore - 16 * scale, r) * inside(r - bore)
    metal = tinted((0.60, 0.60, 0.57), 1 + 0.05 * turned + 0.05 * octaves(rng, x, y, 20 * u))
    gloom = (0.35 + 0.65 * thread) * (0.6 + 0.4 * np.cos(bearing - 1))
    threads = tinted((0.42, 0.42, 0.40), gloom)
    albedo = mix(mix(belt.albedo * 0.75, threads, wall), metal, part)
    albedo = mix(belt.albedo, albedo, np.maximum(part, inside(r - bore)))
    height = mix(belt.height, top + 0.12 * u * turned, part)
    height = mix(height, 3 * scale + 1.5 * scale * thread, wall)
    tips = 1.10 * across * _directions(6, start=np.pi / 6)
    return surface(
        albedo,
        height=height,
        gloss=0.30 * part,
        part=part,
        raw=(0.86, 0.85, 0.82),
        under=belt,
        spots=_spots(size, x, y, tips, 26 * scale, 26 * scale),
    )


def cell(rng: Rng, size: tuple[int, int]) -> Scene:
    """A monocrystalline solar cell glowing under current, seen by an infrared camera."""
    return _cell(rng, size, crystals=False)


def poly(rng: Rng, size: tuple[int, int]) -> Scene:
    """A polycrystalline solar cell under current: grains and dark dislocations are normal."""
    return _cell(rng, size, crystals=True)


def _cell(rng: Rng, size: tuple[int, int], *, crystals: bool) -> Scene:
    """A cell with three busbars and fine fingers, brightest where most current flows."""
    u = unit_of(size)
    x, y = jittered_axes(rng, size, turn=0.5, shift=2)
    width, height = size[1] * 0.965, size[0] * 0.965
    corner = 2 * u if crystals else 0.09 * min(size)
    outline = np.maximum(
        box(x, y, width, height), (np.abs(x) + np.abs(y)) - (width + height) / 2 + corner
    )
    part = inside(outline)
    glow = 0.56 + 0.03 * octaves(rng, x, y, 90 * u, 2) + 0.012 * noise(rng, x, y, 6 * u)
    glow -= 0.10 * ramp(-26 * u, 0, outline)
    if crystals:
        glow += _crystals(rng, x, y, 24 * u)
        veins = 1 - np.abs(octaves(rng, x, y, 34 * u)) / 0.22
        clusters = ramp(0.0, 0.9, noise(rng, x, y, 55 * u))
        glow -= 0.16 * np.clip(veins, 0, 1) * clusters + 0.04 * np.abs(noise(rng, x, y, 18 * u))
    else:
        glow -= 0.05 * ramp(0.3, 1.4, noise(rng, x, y, 120 * u))
    glow *= 1 + 0.035 * np.cos(y * (2 * np.pi / max(4.2 * u, 2.5)))  # fingers
    lane = width / 3
    busbar = inside(np.abs(np.abs((x + width / 2) % lane - lane / 2)) - 3.2 * u)
    seen = mix(np.full(size, 0.07), np.clip(glow * (1 - 0.72 * busbar), 0.02, 1), part)
    rows, columns = np.arange(-height / 2, height / 2, 24 * u), np.arange(-1, 2) * lane
    middles = np.stack(np.meshgrid(columns, rows), axis=2).reshape(-1, 2) + np.array([lane / 4, 0])
    spots = _spots(size, x, y, middles, lane / 2, 24 * u)
    return surface(tinted((1, 1, 1), seen), part=part, raw=(0.2, 0.2, 0.2), spots=spots)


def _crystals(rng: Rng, x: Field, y: Field, cell: float) -> Field:
    """Patches (H, W) of slightly different tone with ragged straight borders."""
    ragged_x, ragged_y = (a + 0.25 * cell * noise(rng, x, y, cell) for a in (x, y))
    seeds = np.ones(x.shape, np.uint8)
    count = max(2, int(x.size / cell**2))
    seeds[rng.integers(0, x.shape[0], count), rng.integers(0, x.shape[1], count)] = 0
    _, nearest = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5)
    tones = rng.normal(0, 0.03, count + 1).astype(np.float32)[nearest]
    columns, rows = ragged_x - ragged_x.min(), ragged_y - ragged_y.min()
    patches: Field = cv2.remap(
        tones, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return patches


def _directions(count: int, start: float = 0.0) -> Points:
    """Unit vectors (count, 2) all round from angle `start`."""
    angles = start + np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _spots(
    size: tuple[int, int], x: Field, y: Field, points: Points, width: float, height: float
) -> Points:
    """Spots (K, 5) of one width and height at those points of the part that are in the picture."""
    middles = to_image(x, y, points)
    seen = np.all((middles >= 0) & (middles < (size[1], size[0])), axis=1)
    middles = middles[seen]
    angle = np.arctan2(y[0, 1] - y[0, 0], x[0, 1] - x[0, 0])
    rest = np.broadcast_to(np.array([width, height, -angle]), (len(middles), 3))
    return np.concatenate([middles, rest], axis=1).astype(np.float32)
