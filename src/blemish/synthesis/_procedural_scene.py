"""What made-up parts are made of: a surface, the axes it is drawn in, noise and soft shapes.

A part is a `Scene`: colour, height and gloss of every pixel. Light and camera come after the
defect has been put in, so that a dent is shaded and a fibre throws its shadow as on a real part.
Lengths are in units: one unit is one pixel of a 256 x 256 picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]
"""A value a pixel, (H, W), or a colour a pixel, (H, W, 3)."""
Points = NDArray[Any]
"""Places in the picture, (N, 2), x before y, in pixels."""
Point = NDArray[Any] | tuple[float, float]
"""One place, (x, y) in pixels."""
Rng = np.random.Generator
Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """A surface before light falls on it.

    Attributes:
        albedo: (H, W, 3) float32 RGB in [0, 1], what the surface reflects.
        height: (H, W) float32 in pixels, towards the camera.
        gloss: (H, W) float32 in [0, 1], how strongly it mirrors the lamp.
        part: (H, W) float32 in [0, 1], 1 where the part is and defects may lie.
        unit: pixels per unit of length.
        raw: RGB in [0, 1] of the material under the finish, seen in a scratch.
        under: the same place without the part, or without what is mounted on it.
        spots: (K, 5) float32 places that can break or go missing: centre x, y, width and height
            in pixels, and angle in radians.
        grain: direction in radians in which it splits; None where any direction is as likely.
    """

    albedo: Field
    height: Field
    gloss: Field
    part: Field
    unit: float
    raw: Colour
    under: Scene | None
    spots: Points
    grain: float | None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.height.shape[0], self.height.shape[1]

    def axes(self, point: Point = (0, 0), angle: float = 0.0) -> tuple[Field, Field]:
        """Coordinates (H, W) of every pixel in axes through `point` (x, y), turned by `angle`."""
        return around(self.size, point[0], point[1], angle)


def surface(
    albedo: Field,
    *,
    raw: Colour,
    height: Field | float = 0.0,
    gloss: Field | float = 0.0,
    part: Field | float = 1.0,
    under: Scene | None = None,
    spots: Points | None = None,
    grain: float | None = None,
) -> Scene:
    """A scene from its colours (H, W, 3); what is one number is the same everywhere."""
    size = albedo.shape[0], albedo.shape[1]

    def everywhere(a: Field | float) -> Field:
        return np.array(np.broadcast_to(a, size), np.float32)

    return Scene(
        albedo=albedo.astype(np.float32),
        height=everywhere(height),
        gloss=everywhere(gloss),
        part=everywhere(part),
        unit=unit_of(size),
        raw=raw,
        under=under,
        spots=np.zeros((0, 5), np.float32) if spots is None else spots,
        grain=grain,
    )


def unit_of(size: tuple[int, int]) -> float:
    """Pixels per unit for a picture of (H, W) pixels."""
    return math.sqrt(size[0] * size[1]) / 256


def jittered_axes(
    rng: Rng, size: tuple[int, int], *, turn: float, shift: float
) -> tuple[Field, Field]:
    """Coordinates x and y of every pixel, each (H, W) float32 in pixels from the part's centre.

    Args:
        rng: source of the jitter.
        size: (H, W) in pixels.
        turn: the part is turned by at most this many degrees either way.
        shift: the part is moved by at most this many units either way, in x and in y.
    """
    angle, reach = math.radians(rng.uniform(-turn, turn)), shift * unit_of(size)
    middle_x = (size[1] - 1) / 2 + rng.uniform(-reach, reach)
    middle_y = (size[0] - 1) / 2 + rng.uniform(-reach, reach)
    return around(size, middle_x, middle_y, angle)


def around(size: tuple[int, int], x: float, y: float, angle: float = 0.0) -> tuple[Field, Field]:
    """Coordinates of every pixel, each (H, W) float32, in axes through (x, y) turned by `angle`."""
    columns = np.arange(size[1], dtype=np.float32)[None] - float(x)
    rows = np.arange(size[0], dtype=np.float32)[:, None] - float(y)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * columns + sin * rows, cos * rows - sin * columns


def to_image(x: Field, y: Field, points: Points) -> Points:
    """Pixel coordinates (N, 2) of points (N, 2) given in the part's axes x and y."""
    # The axes are an affine map of the pixels, so two differences and a corner invert it.
    across = np.array([x[0, 1] - x[0, 0], y[0, 1] - y[0, 0]])
    down = np.array([x[1, 0] - x[0, 0], y[1, 0] - y[0, 0]])
    offset = np.asarray(points, np.float64) - (x[0, 0], y[0, 0])
    return np.stack([offset @ across, offset @ down], axis=1).astype(np.float32)


def noise(rng: Rng, x: Field, y: Field, cell: float, cell_y: float | None = None) -> Field:
    """Smooth random field at (x, y): mean 0, deviation about 0.7, features `cell` pixels wide."""
    if cell_y is None:
        cell_y = cell
        x, y = 0.83 * x + 0.56 * y, 0.83 * y - 0.56 * x  # the lattice must not show in the picture
    step_x, step_y = max(cell, 1.0), max(cell_y, 1.0)
    columns, rows = (x - x.min()) / step_x + 1.5, (y - y.min()) / step_y + 1.5
    lattice = rng.standard_normal((int(rows.max()) + 4, int(columns.max()) + 4), np.float32)
    out: Field = cv2.remap(
        lattice,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    return out


def octaves(rng: Rng, x: Field, y: Field, cell: float, count: int = 3) -> Field:
    """Noise of `count` scales, each half as large and half as strong as the one before."""
    layers = [noise(rng, x, y, cell / 2**i) * np.float32(0.5**i) for i in range(count)]
    total: Field = np.asarray(sum(layers), np.float32)
    return total


def soften(a: Field, sigma: float) -> Field:
    """Gaussian blur by `sigma` pixels."""
    out: Field = cv2.GaussianBlur(a, (0, 0), max(sigma, 0.1), borderType=cv2.BORDER_REFLECT)
    return out


def ramp(low: float, high: float, a: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between (also downwards where high < low)."""
    t = np.clip((a - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def inside(distance: Field, edge: float = 1.0) -> Field:
    """Coverage in [0, 1] of a shape given its signed distance (negative inside) in pixels."""
    return np.clip(0.5 - distance / max(edge, 1.0), 0, 1).astype(np.float32)


def box(x: Field, y: Field, width: float, height: float, radius: float = 0.0) -> Field:
    """Signed distance in pixels to a centred rectangle with rounded corners."""
    dx, dy = np.abs(x) - width / 2 + radius, np.abs(y) - height / 2 + radius
    return (
        np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - radius
    )


def strokes(size: tuple[int, int], lines: Sequence[Any], widths: float | Field) -> Field:
    """Coverage (H, W) in [0, 1] of lines, each (N, 2) pixel points.

    `widths`, in pixels, is one for all, or several spread evenly from start to end.
    """
    # Drawn four times as large and shrunk, so that lines thinner than a pixel come out pale.
    profile = np.atleast_1d(np.asarray(widths, np.float64)) * 4
    fine = np.zeros((size[0] * 4, size[1] * 4), np.uint8)
    for line in lines:
        corners = np.round((np.asarray(line, np.float64) * 4 + 1.5) * 16).astype(int).tolist()
        along = np.linspace(0, len(profile) - 1, len(corners) - 1)
        thick = np.interp(along, np.arange(len(profile)), profile).round().astype(int).tolist()
        for start, end, width in zip(corners[:-1], corners[1:], thick, strict=True):
            cv2.line(fine, start, end, 255, max(1, width), cv2.LINE_8, 4)
    small: Field = cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    return small / np.float32(255)


def mix(a: Field, b: Field | Colour | float, alpha: Field) -> Field:
    """`a` where alpha is 0, `b` where it is 1; colours and (H, W) alphas are broadcast."""
    weight = alpha[..., None] if a.ndim == 3 and alpha.ndim == 2 else alpha
    return (a + (np.asarray(b, np.float32) - a) * weight).astype(np.float32)


def tinted(colour: Colour, tone: Field) -> Field:
    """(H, W, 3): one colour times a tone (H, W) around 1."""
    return tone[..., None] * np.asarray(colour, np.float32)
