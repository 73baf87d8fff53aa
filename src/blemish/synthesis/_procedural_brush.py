"""How a defect is put into a scene: where, along which line, laid on, taken away or pushed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blemish.synthesis._procedural_scene import (
    Colour,
    Field,
    Point,
    Points,
    Rng,
    Scene,
    box,
    inside,
    mix,
    octaves,
)


def pick(rng: Rng, choices: Any) -> Any:
    """One of several, each as likely."""
    return choices[rng.integers(0, len(choices))]


def place(scene: Scene, rng: Rng, margin: float) -> NDArray[Any]:
    """A random point (x, y) on the part, `margin` units within the picture where there is room."""
    height, width = scene.size
    gap_x, gap_y = (min(margin * scene.unit, 0.35 * side) for side in (width, height))
    for _ in range(200):  # parts fill at least a tenth of the picture
        point = rng.uniform((gap_x, gap_y), (width - gap_x, height - gap_y))
        if scene.part[int(point[1]), int(point[0])] > 0.9:
            break
    return point


def curve(start: NDArray[Any], heading: float, length: float, turns: NDArray[Any]) -> Points:
    """Points (N + 1, 2) of a line of N equal steps that leaves `start` at `heading` + `turns`."""
    angles = heading + np.asarray(turns)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * length / len(angles)
    points: Points = start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return points


def blob(scene: Scene, rng: Rng, centre: Point, radius: float, rough: float) -> Field:
    """Signed distance in pixels to a round shape with an uneven edge."""
    x, y = scene.axes(centre, rng.uniform(0, np.pi))
    squash = rng.uniform(0.7, 1.0)
    uneven = 1 + rough * octaves(rng, x, y, radius, 2)
    distance: Field = np.hypot(x, y / squash) - radius * uneven
    return distance


def lay(
    scene: Scene,
    amount: Field,
    colour: Field | Colour,
    rise: Field | float = 0.0,
    gloss: float | None = None,
    *,
    anywhere: bool = False,
) -> Scene:
    """Lay `colour` over the part where `amount` (0 to 1), raised by `rise` pixels."""
    amount = amount if anywhere else amount * scene.part
    return replace(
        scene,
        albedo=mix(scene.albedo, colour, amount),
        height=scene.height + amount * rise,
        gloss=scene.gloss if gloss is None else mix(scene.gloss, gloss, amount),
    )


def reveal(scene: Scene, amount: Field) -> Scene:
    """Take the part away where `amount` (0 to 1), so that what is under it shows."""
    assert scene.under is not None
    return replace(
        scene,
        albedo=mix(scene.albedo, scene.under.albedo, amount),
        height=mix(scene.height, scene.under.height, amount),
        gloss=mix(scene.gloss, scene.under.gloss, amount),
    )


def footprint(scene: Scene, x: float, y: float, width: float, height: float) -> Field:
    """Coverage of a mounted component and a little around it."""
    local_x, local_y = scene.axes((x, y))
    return inside(box(local_x, local_y, width + 8 * scene.unit, height + 8 * scene.unit))


def displace(scene: Scene, dx: Field, dy: Field) -> Scene:
    """Move the surface by (dx, dy) pixels, each (H, W)."""
    x, y = scene.axes()
    source = (x - dx).astype(np.float32), (y - dy).astype(np.float32)
    albedo, height, gloss = (
        cv2.remap(a, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        for a in (scene.albedo, scene.height, scene.gloss)
    )
    return replace(scene, albedo=albedo, height=height, gloss=gloss)
