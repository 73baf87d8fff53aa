"""Points drawn as a shaded depth picture, and which of them a view shows.

Orthographic, so that a dent has the same size wherever it lies in the view. Everything happens in
a buffer of twice the view's size, which is averaged down at the end: edges come out clean.

- Hidden points. A point is hidden if every disc over its pixel, as wide as the gaps between
  points, holds a pixel that is nearer by more than the disc's radius and `SLACK`. So the surface
  has no gaps through which its back is seen, and does not grow over what stands beside it.
- Depth. The outermost points are averaged with a Gaussian, and `PASSES` times what the average
  leaves is averaged again and added, which takes the texture of the sampling out of the surface.
  Gaps narrower than a disc are part of the surface.
- Grey. Light from the upper left shows form, and near is lighter than far (`_grey`). The mapping
  is fixed: equal shapes look equal, nothing adapts to a picture's own range. No surface is black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.types import Image

FILLED = 0.94
"""Share of the view's side that the part's bounding sphere takes."""
SLACK = 4.0
"""In pixels of the buffer, 1 % of a part's size at 224: what noise and steep surfaces need; the
back of a thinner sheet is seen through its front."""
WIDEST = 24
"""Radius of the widest disc, in pixels of the buffer; sparser clouds are seen through."""
SKIN = 1.0
"""Likewise, for a point that the picture is made of: a wall seen from its edge would blur it."""
SPREAD, PASSES = 0.6, 2
"""Sigma of the Gaussian in radii of the disc; on made tori of 20,000 and 100,000 random points
these come closest to the picture of 2,000,000."""
_LIGHT = (-0.4, 0.5, 0.768)


@dataclass(frozen=True, eq=False)
class Scene:
    """Points that are ready to be drawn.

    Attributes:
        points: (N, 3) float32, x right, y up, z towards the viewer, from the part's centre, in
            pixels of the buffer; at most `FILLED` * size from it.
        size: side of a view in pixels; the buffer's is twice that.
        disc: radius of a point's disc, in pixels of the buffer.
    """

    points: NDArray[np.float32]
    size: int
    disc: int


@dataclass(frozen=True, eq=False)
class Projection:
    """Where a view shows each point.

    Attributes:
        pixel: (N,) intp, index of its pixel in the flat buffer (2 size * 2 size).
        offset: (2, N) float32 in [-0.5, 0.5], how far down and right of the pixel's centre.
        depth: (N,) float32, in pixels of the buffer; nearer is smaller, 0 at the part's centre.
        visible: (N,) bool, not hidden.
        outermost: (N,) bool, those of them that the picture is made of.
    """

    pixel: NDArray[np.intp]
    offset: NDArray[np.float32]
    depth: NDArray[np.float32]
    visible: NDArray[np.bool_]
    outermost: NDArray[np.bool_]


def project(scene: Scene, rotation: NDArray[np.float64]) -> Projection:
    """Turn the points by a rotation (3, 3) and find out which of them are seen."""
    import cv2

    side = 2 * scene.size
    turned = scene.points @ rotation.T.astype(np.float32)
    right, down = scene.size + turned[:, 0], scene.size - turned[:, 1]
    column, row = right.astype(np.intp), down.astype(np.intp)
    pixel = row * side + column
    depth = -turned[:, 2]
    nearest = np.full(side * side, np.inf, np.float32)
    np.minimum.at(nearest, pixel, depth)
    front = _morphology(nearest.reshape(side, side), scene.disc, cv2.MORPH_OPEN, np.inf)
    behind = depth - front.ravel()[pixel]
    offset = np.stack([down - row, right - column]) - np.float32(0.5)
    return Projection(pixel, offset, depth, behind <= scene.disc + SLACK, behind <= SKIN)


def view_pixel(scene: Scene, projection: Projection) -> NDArray[np.intp]:
    """(N,) intp, index of each point's pixel in the flat view (size * size)."""
    row, column = np.divmod(projection.pixel, 2 * scene.size)
    return np.asarray((row // 2) * scene.size + column // 2)


def draw(scene: Scene, projection: Projection) -> Image:
    """The picture of a view, (size, size, 3) uint8."""
    import cv2

    depth, part = _surface(scene, projection)
    grey = np.where(part, _grey(depth, part, scene.size), np.float32(0))
    small = cv2.resize(grey, (scene.size, scene.size), interpolation=cv2.INTER_AREA)
    return np.repeat(np.rint(small * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def disc(radius: int) -> NDArray[np.uint8]:
    """(2 radius + 1, 2 radius + 1) uint8, 1 within the radius of the middle."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y * y + x * x <= radius * radius, np.uint8)


def _morphology(buffer: NDArray[Any], radius: int, what: int, outside: float) -> NDArray[Any]:
    """Open or close with a disc; all that lies outside the buffer has one value."""
    import cv2

    pad = 2 * radius
    wide = np.pad(buffer, pad, constant_values=outside)
    done: NDArray[Any] = cv2.morphologyEx(wide, what, disc(radius))[pad:-pad, pad:-pad]
    return done


def _surface(scene: Scene, projection: Projection) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Depth of the visible surface, and where there is one, both (2 size, 2 size)."""
    import cv2

    seen = projection.outermost
    pixel, offset = projection.pixel[seen], projection.offset[:, seen]
    side, reach = 2 * scene.size, 4 * scene.disc + 3  # of the Gaussian: both its sides

    def spread(values: NDArray[np.float32] | None) -> NDArray[np.float32]:
        sums = np.bincount(pixel, values, side * side).reshape(side, side).astype(np.float32)
        sigma = SPREAD * scene.disc + 0.3
        blurred = cv2.GaussianBlur(sums, (reach, reach), sigma, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(blurred, np.float32)

    hit = (np.bincount(pixel, minlength=side * side) > 0).reshape(side, side)
    part = _morphology(hit.astype(np.uint8), scene.disc, cv2.MORPH_CLOSE, 0).astype(np.bool_)
    weight = spread(None)
    part &= weight > 1e-12
    weight[~part] = np.inf
    depth = np.zeros((side, side), np.float32)
    left = projection.depth[seen]
    for turn in range(1 + PASSES):
        depth += spread(left) / weight
        if turn < PASSES:
            slopes = _slope(depth, part), _slope(depth.T, part.T).T
            drawn = depth.ravel()[pixel]
            drawn += sum(s.ravel()[pixel] * o for s, o in zip(slopes, offset, strict=True))
            left = projection.depth[seen] - drawn
    return depth, part


def _grey(depth: NDArray[np.float32], part: NDArray[np.bool_], size: int) -> NDArray[np.float32]:
    """(2 size, 2 size) float32 in [0, 1]: Lambert's shading times nearness.

    grey = (0.25 + 0.75 max(0, normal . light)) (0.65 + 0.35 nearness), where nearness rises from 0
    at the far side of the bounding sphere to 1 at the near one.
    """
    down, right = _slope(depth, part), _slope(depth.T, part.T).T
    # Depth grows away from the viewer and rows grow down, so with x to the right, y up and z to
    # the viewer the normal is (right, -down, 1).
    x, y, z = (np.float32(part) for part in _LIGHT)
    lambert = (x * right - y * down + z) / np.sqrt(right**2 + down**2 + 1)
    nearness = np.clip(0.5 - depth / (2 * FILLED * size), 0, 1)
    return np.asarray((0.25 + 0.75 * np.maximum(lambert, 0)) * (0.65 + 0.35 * nearness))


def _slope(depth: NDArray[np.float32], part: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Depth by row; of the smoother side where the surface breaks off, so that no edge is drawn."""
    step = np.diff(depth, axis=0)
    step[~(part[1:] & part[:-1])] = np.inf
    beyond = np.full((1, depth.shape[1]), np.inf, np.float32)
    above, below = np.concatenate([beyond, step]), np.concatenate([step, beyond])
    with np.errstate(invalid="ignore"):  # infinity less infinity, where neither side is the part
        smooth = np.abs(above - below) < 1
        slope = np.where(np.abs(above) < np.abs(below), above, below)
        slope = np.where(smooth, (above + below) / 2, slope)
    return np.where(np.isfinite(slope), slope, np.float32(0))
