"""Made-up surfaces that fill the picture: fabric, metal, tiles, wood, castings."""

from __future__ import annotations

import numpy as np

from blemish.synthesis._procedural_scene import (
    Points,
    Rng,
    Scene,
    box,
    inside,
    jittered_axes,
    mix,
    noise,
    octaves,
    ramp,
    surface,
    tinted,
    unit_of,
)
from blemish.types import Mask


def woven(rng: Rng, size: tuple[int, int]) -> Scene:
    """Plain-weave canvas: two thread colours, threads of uneven tone, a slightly skewed lie."""
    u = unit_of(size)
    pitch = max(11 * u, 5.0)
    x, y = jittered_axes(rng, size, turn=4, shift=20)
    x, y = x + u * noise(rng, x, y, 70 * u), y + u * noise(rng, x, y, 70 * u)
    column, row = np.floor(x / pitch), np.floor(y / pitch)
    across, along = x / pitch - column - 0.5, y / pitch - row - 0.5
    over = 1 - 2 * ((column + row) % 2)
    warp = np.cos(np.pi * across) + 0.5 * over * np.cos(np.pi * along)
    weft = np.cos(np.pi * along) - 0.5 * over * np.cos(np.pi * across)
    tones = rng.normal(1, 0.05, (2, 997)).astype(np.float32)
    warp_tone = tones[0, column.astype(int) % 997] + 0.07 * noise(rng, x, y, 1.3 * u, 9 * u)
    weft_tone = tones[1, row.astype(int) % 997] + 0.07 * noise(rng, x, y, 9 * u, 1.3 * u)
    top = ramp(-0.15, 0.15, warp - weft)
    albedo = mix(tinted((0.80, 0.74, 0.62), weft_tone), tinted((0.63, 0.60, 0.55), warp_tone), top)
    height = np.maximum(warp, weft) * pitch * 0.22
    return surface(albedo, height=height, gloss=0.03, raw=(0.9, 0.87, 0.8))


def brushed(rng: Rng, size: tuple[int, int]) -> Scene:
    """Brushed steel: fine streaks along x and a broad reflection of the lamp."""
    u = unit_of(size)
    x, y = jittered_axes(rng, size, turn=2.5, shift=10)
    streaks = noise(rng, x, y, 90 * u, 0.9 * u) + noise(rng, x, y, 200 * u, 3 * u)
    tone = 1 + 0.05 * streaks + 0.02 * octaves(rng, x, y, 60 * u)
    band = np.exp(-(((y - rng.uniform(-60, 60) * u) / (rng.uniform(60, 90) * u)) ** 2))
    albedo = tinted((0.60, 0.61, 0.63), tone + 0.22 * band)
    return surface(
        albedo, height=0.12 * u * streaks, gloss=0.12 + 0.1 * band, raw=(0.95, 0.95, 0.96)
    )


def tiled(rng: Rng, size: tuple[int, int]) -> Scene:
    """Ceramic tiles with bevelled edges and sandy grout; each tile of its own tone."""
    u = unit_of(size)
    pitch, joint = 78 * u, 5 * u
    x, y = jittered_axes(rng, size, turn=1.5, shift=30)
    column, row = np.floor(x / pitch), np.floor(y / pitch)
    local_x, local_y = (x / pitch - column - 0.5) * pitch, (y / pitch - row - 0.5) * pitch
    distance = box(local_x, local_y, pitch - joint, pitch - joint, 3 * u)
    distance = distance + 0.35 * u * noise(rng, x, y, 6 * u)
    tile = inside(distance, 1.5 * u)
    tones = rng.normal(1, 0.045, 997).astype(np.float32)
    tone = tones[(column * 31 + row * 17).astype(int) % 997]
    clouds, specks = octaves(rng, x, y, 26 * u, 4), ramp(1.0, 1.6, noise(rng, x, y, 2.2 * u))
    face = tinted((0.66, 0.47, 0.37), tone * (1 + 0.05 * clouds) - 0.22 * specks)
    grout = tinted((0.62, 0.60, 0.56), 1 + 0.08 * octaves(rng, x, y, 5 * u))
    height = 4 * u * ramp(0, -3.5 * u, distance) + 0.10 * u * octaves(rng, x, y, 4 * u)
    clay = (0.76, 0.64, 0.54)
    chipped = surface(
        tinted(clay, 1 + 0.1 * octaves(rng, x, y, 6 * u)),
        height=1.2 * u * octaves(rng, x, y, 9 * u),
        raw=clay,
    )
    return surface(
        mix(grout, face, tile),
        height=height,
        gloss=0.10 * tile,
        raw=(0.82, 0.70, 0.60),
        under=chipped,
        spots=_edge_spots(rng, np.abs(distance + 2 * u) < 1.5 * u, u),
    )


def wood(rng: Rng, size: tuple[int, int]) -> Scene:
    """A planed board: growth rings cut lengthwise, pores, slow changes of colour."""
    u = unit_of(size)
    x, y = jittered_axes(rng, size, turn=3, shift=40)
    bend = 9 * u * noise(rng, x, y, 90 * u, 260 * u) + 1.5 * u * noise(rng, x, y, 22 * u, 120 * u)
    ring = (np.hypot(x + bend + rng.uniform(60, 140) * u, y * 0.18) / (13 * u)).astype(np.float32)
    ring += 0.6 * noise(rng, ring, 0 * ring, 2.0)
    phase = ring - np.floor(ring)
    late = ramp(0.2, 0.9, phase) * ramp(1.0, 0.93, phase)
    strength = 0.75 + 0.2 * noise(rng, ring, 0 * ring, 1.0)
    grain = noise(rng, x, y, 1.1 * u, 30 * u)
    pores = ramp(1.0, 1.7, noise(rng, x, y, 1.2 * u, 14 * u)) * (0.4 + 0.6 * late)
    tone = 1 + 0.05 * grain + 0.05 * octaves(rng, x, y, 110 * u, 2) - 0.25 * pores
    albedo = mix(
        tinted((0.76, 0.57, 0.38), tone),
        tinted((0.52, 0.33, 0.18), tone),
        np.clip(0.75 * late * strength, 0, 1),
    )
    height = 0.35 * u * late - 0.6 * u * pores + 0.1 * u * grain
    lie = np.arctan2(x[1, 0] - x[0, 0], y[1, 0] - y[0, 0])  # of the board's y axis
    return surface(
        albedo, height=height, gloss=0.03, raw=(0.86, 0.72, 0.53), grain=float(np.pi / 2 + lie)
    )


def cast(rng: Rng, size: tuple[int, int]) -> Scene:
    """A ground grey casting, slightly arched: dark flanks, faint grinding marks, low contrast."""
    u = unit_of(size)
    x, y = jittered_axes(rng, size, turn=1.5, shift=3)
    half = size[1] / 2
    arch = np.clip(1 - (np.abs(x - rng.uniform(-0.15, 0.15) * half) / half) ** 2, -0.5, 1)
    flank = ramp(0.80, 0.96, np.abs(x) / half + 0.012 * noise(rng, y, x, 30 * u))
    marks = noise(rng, x, y, 1.2 * u, 60 * u) + 0.7 * noise(rng, x, y, 5 * u, 200 * u)
    mottle, skin = octaves(rng, x, y, 30 * u), noise(rng, x, y, 1.6 * u)
    tone = rng.uniform(0.72, 1.08) + 0.20 * arch + 0.025 * marks + 0.03 * mottle + 0.04 * skin
    albedo = tinted((0.40, 0.40, 0.40), tone * (1 - 0.45 * flank))
    height = 0.07 * u * skin + 0.06 * u * marks - 4 * u * flank
    rim = np.abs(np.abs(x) - 0.86 * half) < 3 * u
    broken = surface(
        tinted((0.30, 0.30, 0.30), 1 + 0.16 * octaves(rng, x, y, 10 * u)),
        height=height - 5 * u + 1.6 * u * octaves(rng, x, y, 8 * u),
        raw=(0.5, 0.5, 0.5),
    )
    return surface(
        albedo,
        height=height,
        gloss=0.05 * (1 - flank),
        raw=(0.62, 0.62, 0.62),
        under=broken,
        spots=_edge_spots(rng, rim, u),
    )


def _edge_spots(rng: Rng, edge: Mask, u: float) -> Points:
    """Spots (12, 5) at random pixels of an edge that may chip."""
    rows, columns = np.nonzero(edge)
    chosen = rng.integers(0, len(rows), 12)
    spots = np.zeros((12, 5), np.float32)
    spots[:, 0], spots[:, 1] = columns[chosen], rows[chosen]
    spots[:, 2:4] = 16 * u
    return spots
