"""A made-up circuit board: what is mounted is data, a list of boxes from the bottom up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from blemish.synthesis._procedural_scene import (
    Colour,
    Field,
    Points,
    Rng,
    Scene,
    box,
    inside,
    jittered_axes,
    mix,
    noise,
    octaves,
    strokes,
    surface,
    tinted,
    to_image,
    unit_of,
)

_TIN, _BLACK, _INK = (0.74, 0.74, 0.72), (0.085, 0.085, 0.09), (0.62, 0.62, 0.60)


@dataclass(frozen=True)
class _Box:
    """A block: centre, width, height and corner radius in units, then colour, top and gloss."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    colour: Colour
    top: float
    gloss: float = 0.05


@dataclass(frozen=True)
class _Component:
    """What can be mounted: outer width and height in units, solder pads, blocks upon them."""

    body: tuple[float, float]
    pads: tuple[_Box, ...]
    blocks: tuple[_Box, ...]


def _pair(gap: float, width: float, height: float, colour: Colour, top: float) -> tuple[_Box, ...]:
    return tuple(_Box(s * gap, 0, width, height, 0.8, colour, top, 0.3) for s in (-1, 1))


def _pins(rows: int, gap: float, width: float, top: float) -> tuple[_Box, ...]:
    """Two columns of pins 6 units apart."""
    lift = (rows - 1) * 3
    return tuple(
        _Box(s * gap, 6 * i - lift, width, 2.6, 0.5, _TIN, top, 0.35)
        for i in range(rows)
        for s in (-1, 1)
    )


def _chip(rows: int, width: float) -> _Component:
    """An integrated circuit with two rows of legs, a marking and a dot at pin 1."""
    height, half = rows * 6 + 3, width / 2
    return _Component(
        (width + 12, height),
        _pins(rows, half + 4, 6, 0.8),
        (
            *_pins(rows, half + 1.5, 6, 2.5),
            _Box(0, 0, width, height, 1.5, _BLACK, 7, 0.06),
            _Box(-half + 4, -height / 2 + 4, 2.6, 2.6, 1.3, (0.2, 0.2, 0.2), 6.4),
            _Box(1.5, -1.5, width * 0.55, 1.6, 0.3, _INK, 7),
            _Box(0.5, 2.5, width * 0.42, 1.6, 0.3, _INK, 7),
        ),
    )


def _two_ended(length: float, width: float, colour: Colour, top: float) -> _Component:
    """A resistor or ceramic capacitor: a block with tinned ends."""
    return _Component(
        (length + 8, width + 2),
        _pair(length / 2, 7, width + 2, _TIN, 0.8),
        (
            _Box(0, 0, length, width, 0.8, colour, top, 0.05),
            *_pair(length / 2 - 2, 4.2, width, (0.70, 0.70, 0.68), top + 0.3),
        ),
    )


_CAN = _Component(
    (32, 32),
    _pair(15, 8, 5, _TIN, 0.8),
    (
        _Box(0, 0, 30, 30, 3, (0.10, 0.10, 0.11), 3),
        _Box(0, 0, 27, 27, 13.5, (0.66, 0.67, 0.69), 11, 0.3),
        _Box(-8.5, 0, 7, 17, 3, (0.13, 0.13, 0.14), 11),
    ),
)
_CONNECTOR = _Component(
    (38, 24),
    _pins(3, 13, 5, 0.8),
    (
        _Box(0, 0, 36, 22, 1.5, (0.82, 0.80, 0.74), 8),
        _Box(0, 1, 30, 12, 0.8, (0.45, 0.44, 0.40), 2.5),
        *(
            _Box(7.5 * i, 1, 2.4, 7, 0.6, (0.78, 0.66, 0.36), 5, 0.4)
            for i in (-1.5, -0.5, 0.5, 1.5)
        ),
    ),
)
_MOUNTED = (
    _chip(5, 22),
    _two_ended(20, 10, (0.10, 0.10, 0.11), 4),
    _CAN,
    _two_ended(15, 9, (0.60, 0.45, 0.31), 5),
    _chip(3, 14),
    _two_ended(20, 11, (0.10, 0.10, 0.11), 4),
    _CONNECTOR,
)


_VIAS = tuple(
    block
    for x, y in ((-25, 19), (23, -20))
    for block in (
        _Box(x, y, 5, 5, 2.5, (0.66, 0.62, 0.42), 0.8, 0.3),
        _Box(x, y, 2.4, 2.4, 1.2, (0.05, 0.06, 0.05), -1),
    )
)


def _silk(component: _Component) -> tuple[_Box, ...]:
    """The printed brackets around a component's place."""
    width, height = component.body
    return tuple(
        _Box(s * (width / 2 + 3), 0, 1.3, height + 4, 0.3, (0.80, 0.82, 0.78), 0.5) for s in (-1, 1)
    )


def board(rng: Rng, size: tuple[int, int]) -> Scene:
    """A green circuit board; its layout is always the same, its lie and the tones are not."""
    u = unit_of(size)
    x, y = jittered_axes(rng, size, turn=1.2, shift=3)
    centres, mounted = _layout(size, u)
    shine = 1 + 0.03 * octaves(rng, x, y, 50 * u) + 0.02 * noise(rng, x, y, 1.5 * u)
    tracks = _tracks(size, to_image(x, y, centres), u)
    green = mix(tinted((0.07, 0.29, 0.17), shine), tinted((0.12, 0.40, 0.24), shine), tracks)
    bare = surface(green, height=0.6 * u * tracks, gloss=0.05, raw=(0.80, 0.55, 0.33))
    for centre, component in zip(centres, mounted, strict=True):
        _mount(bare, x, y, centre, (*_silk(component), *_VIAS, *component.pads))
    full = replace(
        bare, albedo=bare.albedo.copy(), height=bare.height.copy(), gloss=bare.gloss.copy()
    )
    for centre, component in zip(centres, mounted, strict=True):
        placed = centre + rng.normal(0, 0.4 * u, 2)
        skew, tone = rng.normal(0, 0.012), rng.normal(1, 0.04)
        _mount(full, x, y, placed, component.blocks, skew, tone)
    sizes = np.array([component.body for component in mounted]) * u
    spots = np.concatenate([to_image(x, y, centres), sizes, np.zeros((len(mounted), 1))], axis=1)
    return replace(full, under=bare, spots=spots.astype(np.float32))


def _layout(size: tuple[int, int], u: float) -> tuple[Points, list[_Component]]:
    """Where components sit, (N, 2) pixels from the board's centre, and what they are."""
    rows, columns = (max(1, int(side / (61 * u))) for side in size)
    fixed = np.random.default_rng(11)
    slots = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=2).reshape(-1, 2)
    share = np.array([size[1] / columns, size[0] / rows])
    centres = (slots - np.array([columns - 1, rows - 1]) / 2) * share
    centres = centres + fixed.uniform(-4, 4, centres.shape) * u
    order = fixed.permutation(np.arange(len(slots)) % len(_MOUNTED))
    return centres.astype(np.float32), [_MOUNTED[i] for i in order]


def _tracks(size: tuple[int, int], centres: Points, u: float) -> Field:
    """Coverage (H, W) of copper tracks from component to component, with 45 degree bends."""
    fixed = np.random.default_rng(5)
    lines = []
    for start, end in pairwise(centres):
        step = end - start
        bend = np.sign(step) * np.abs(step).min()
        for lane in fixed.permutation([-12, -6, 0, 6, 12])[:3] * u:
            lines.append(np.array([start, start + bend, end]) + lane)
    return strokes(size, lines, 2.2 * u)


def _mount(
    scene: Scene,
    x: Field,
    y: Field,
    centre: Points,
    blocks: Sequence[_Box],
    skew: float = 0.0,
    tone: float = 1.0,
) -> None:
    """Paint the blocks of a component at `centre`, `skew` radians off, into the scene's arrays."""
    u, centre_x, centre_y = scene.unit, float(centre[0]), float(centre[1])
    middles = to_image(x, y, centre + np.array([[b.x, b.y] for b in blocks]) * u)
    for block, middle in zip(blocks, middles, strict=True):
        # Only the window that holds the block is touched: a board carries hundreds of them.
        reach = math.hypot(block.width, block.height) * u / 2 + 2
        left, top = (max(0, int(m - reach)) for m in middle)
        right, bottom = (max(0, int(m + reach) + 2) for m in middle)
        window = slice(top, bottom), slice(left, right)
        local_x, local_y = x[window] - centre_x, y[window] - centre_y
        block_x = local_x + skew * local_y - block.x * u
        block_y = local_y - skew * local_x - block.y * u
        cover = inside(box(block_x, block_y, block.width * u, block.height * u, block.radius * u))
        colour = (block.colour[0] * tone, block.colour[1] * tone, block.colour[2] * tone)
        scene.albedo[window] = mix(scene.albedo[window], colour, cover)
        scene.height[window] = mix(scene.height[window], block.top * u, cover)
        scene.gloss[window] = mix(scene.gloss[window], block.gloss, cover)
