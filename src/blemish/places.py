"""Where in a picture something is, in the nine words of a 3 x 3 grid."""

from __future__ import annotations

import numpy as np

from blemish.errors import InputError
from blemish.types import Mask

POSITIONS = (
    "top left",
    "top",
    "top right",
    "left",
    "centre",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
"""The nine cells, row by row from the picture's top left."""


def position(y: float, x: float, height: int, width: int) -> str:
    """The word for the cell that a point lies in.

    A point on the line between two cells belongs to the lower or right one.

    Args:
        y: pixels from the picture's top edge, in [0, height]; a pixel's centre lies at its
            row number + 0.5.
        x: pixels from the left edge, in [0, width].
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    >>> position(50, 50, 100, 100)
    'centre'
    >>> position(0, 199, 90, 200)
    'top right'
    """
    if not (0 <= y <= height and 0 <= x <= width and height > 0 and width > 0):
        raise InputError(
            f"Point (y={y}, x={x}) lies outside a picture {width} x {height} pixels; expected "
            f"y in [0, {height}] and x in [0, {width}]."
        )
    row, column = min(int(3 * y / height), 2), min(int(3 * x / width), 2)
    return POSITIONS[3 * row + column]


def position_of(mask: Mask) -> str:
    """The word for a mask's centre of mass.

    Args:
        mask: (H, W) bool with at least one True.

    >>> mask = np.zeros((90, 90), dtype=bool)
    >>> mask[70:80, 10:80] = True
    >>> position_of(mask)
    'bottom'
    """
    rows, columns = _marked(mask)
    if not rows.size:
        raise InputError("The mask marks no pixel, so it has no position; check mask.any() first.")
    return position(rows.mean() + 0.5, columns.mean() + 0.5, *mask.shape)


def positions(mask: Mask) -> tuple[str, ...]:
    """The words of all cells in which a mask marks a pixel's centre, in the order of POSITIONS.

    Args:
        mask: (H, W) bool; one without any True gives no word.

    >>> mask = np.zeros((90, 90), dtype=bool)
    >>> mask[70:80, 10:50] = True
    >>> positions(mask)
    ('bottom left', 'bottom')
    """
    rows, columns = _marked(mask)
    height, width = mask.shape
    # In integers: 3 * (row + 0.5) / height, rounded down.
    cells = 3 * ((6 * rows + 3) // (2 * height)) + (6 * columns + 3) // (2 * width)
    return tuple(POSITIONS[cell] for cell in np.unique(cells))


def _marked(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the True pixels, (n,) int64 each."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise InputError(
            f"A mask of shape {mask.shape} and dtype {mask.dtype} came; expected (H, W) bool with "
            "at least one pixel."
        )
    rows, columns = np.nonzero(mask)
    return rows, columns
