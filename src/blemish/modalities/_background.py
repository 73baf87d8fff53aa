"""What lies around a part in the view of a sensor that looks down on it: the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BORDER = 10
"""Pixels of a grid's rim that must show the table, as in the preprocessing of CPMF's code. That
then also keeps only the largest cluster of points; here crumbs beside a part stay to be seen."""
AGREE = 0.9
"""Share of the measured rim that must lie on one plane for it to be a table."""
THICKNESS = 0.01
"""Of the table, to both sides of its plane, in diagonals of the rim."""
SMALLEST = 0.05
"""Share of the points that must be left: otherwise the plane is the part, such as a sheet."""
_TRIALS = 64


def table(points: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points of a grid lie on the table or behind it.

    MVTec 3D-AD's parts lie on one, and its plane would take most of each view. A plane is fitted
    to the grid's rim (RANSAC, then least squares); where the rim does not agree on one, or where
    next to nothing would be left, no point is taken away.

    Args:
        points: (H * W, 3) float64, row by row; NaN where nothing was measured.
        grid: H and W.

    Returns:
        (H * W,) bool.
    """
    none = np.zeros(len(points), np.bool_)
    height, width = grid
    rim = np.ones(grid, np.bool_)
    rim[BORDER : height - BORDER, BORDER : width - BORDER] = False
    measured = np.isfinite(points).all(axis=1)
    around = points[rim.ravel() & measured]
    if len(around) < 3 or rim.all():
        return none
    thickness = THICKNESS * float(np.linalg.norm(np.ptp(around, axis=0)))
    anchor, normal = _plane(around, thickness)
    height_of = (points - anchor) @ normal
    if (np.abs((around - anchor) @ normal) <= thickness).mean() < AGREE:
        return none
    # The part stands on one side; what a sensor saw behind the table is less.
    with np.errstate(invalid="ignore"):  # NaN is on neither side
        part = max(height_of > thickness, height_of < -thickness, key=np.count_nonzero)
    if part.sum() < SMALLEST * measured.sum():
        return none
    return measured & ~part


def _plane(
    points: NDArray[np.float64], thickness: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point of the plane that most of the points lie on, and its unit normal, both (3,)."""
    chance = np.random.default_rng(0)
    best = np.ones(len(points), np.bool_)
    most = 0
    for _ in range(_TRIALS):
        a, b, c = points[chance.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length > 0:
            on = np.abs((points - a) @ normal) <= thickness * length
            if on.sum() > most:
                best, most = on, int(on.sum())
    middle = points[best].mean(axis=0)
    # The direction in which the points that agree spread least.
    return middle, np.linalg.svd(points[best] - middle, full_matrices=False)[2][2]
