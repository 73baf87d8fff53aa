"""What can be said in words of a mask: how many anomalies, where, how large, of what shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError
from blemish.places import POSITIONS
from blemish.types import Mask

JOINED = 32
"""Pieces less than this part of the picture's shorter side apart are one anomaly."""
CRUMB = 0.05
"""Pieces under this share of the largest one are left out."""
HELD = 0.5
"""A region lies in each cell with at least this share of what its fullest cell holds."""
LONG = 3.0
"""A region is long where it spreads this many times as far along as across."""


@dataclass(frozen=True)
class Marked:
    """What a mask marks.

    Attributes:
        number: of anomalies; 0 where nothing is marked.
        places: words of `blemish.places.POSITIONS` in their order, each once.
        share: of the picture that the largest one covers, in [0, 1].
        long: whether the largest one is long and thin.
    """

    number: int = 0
    places: tuple[str, ...] = ()
    share: float = 0.0
    long: bool = False


def marked(mask: Mask) -> Marked:
    """Count and place what a mask marks.

    Args:
        mask: (H, W) bool, True where anomalous.

    Raises:
        InputError: it is no such mask.

    >>> mask = np.zeros((90, 90), dtype=bool)
    >>> mask[70:80, 10:50] = True
    >>> marked(mask).number, marked(mask).places
    (1, ('bottom left', 'bottom'))
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise InputError(
            f"A mask of shape {mask.shape} and dtype {mask.dtype} came; expected (H, W) bool."
        )
    if not mask.any():
        return Marked()
    regions = _regions(mask)
    cells = np.unique(np.concatenate([_cells(region, mask.shape) for region in regions]))
    largest = max(regions, key=len)
    return Marked(
        number=len(regions),
        places=tuple(POSITIONS[cell] for cell in cells),
        share=len(largest) / mask.size,
        long=_is_long(largest),
    )


def _regions(mask: Mask) -> list[NDArray[np.int64]]:
    """(n, 2) row and column of the pixels of each anomaly, in the order of their first pixel."""
    import cv2

    reach = 2 * (min(mask.shape) // (2 * JOINED)) + 1  # odd; 1 where the picture is small
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(grown, connectivity=8)
    points = np.argwhere(mask)
    owner = labels[mask]
    areas = np.bincount(owner, minlength=count)
    return [points[owner == i] for i in np.flatnonzero(areas >= max(1, CRUMB * areas.max()))]


def _cells(points: NDArray[np.int64], size: tuple[int, ...]) -> NDArray[np.int64]:
    """The numbers of the cells of the 3 x 3 grid that hold enough of a region, (n,) int64."""
    # In integers, as blemish.places has it: 3 * (row + 0.5) / height, rounded down.
    down, across = ((6 * points + 3) // (2 * np.asarray(size))).T
    held = np.bincount(3 * down + across, minlength=9)
    return np.flatnonzero(held >= HELD * held.max())


def _is_long(points: NDArray[np.int64]) -> bool:
    # A pixel is a square with a variance of 1/12 either way, so that a line has a width.
    spread = np.linalg.eigvalsh(np.cov(points.T, bias=True) + np.eye(2) / 12)
    return bool(spread[1] >= LONG**2 * spread[0])
