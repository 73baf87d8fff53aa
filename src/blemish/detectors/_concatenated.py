"""What PatchCore, SPADE and PaDiM share: all layers as one descriptor a position.

Unlike the tokens of `_memory`, descriptors are not normalised, and distances are Euclidean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blemish.detectors._maps import image_score
from blemish.detectors._memory import neighbourhood_mean
from blemish.detectors._patches import PatchOptions
from blemish.types import AnomalyMap, Features

Descriptors = NDArray[np.float32]
_AT_ONCE = 2**22
"""Distances held at a time, so that memory does not grow with the bank: 16 MB."""


class ConcatenatedOptions(PatchOptions):
    """Options that PatchCore, SPADE and PaDiM have in common.

    The image score is the one of each method's paper where top is 0, as by default. The smoothing
    is that of the papers' code, 4 pixels of 224.
    """

    size: int | None = Field(256, ge=14, le=4096)
    sigma: float = Field(1.8, ge=0, le=20)
    top: float = Field(0.0, ge=0, le=1)

    def image_score(self, maps: Sequence[AnomalyMap], papers: float) -> float:
        """The paper's image score, or the mean of the highest pixels where top asks for it."""
        return image_score(maps, self.top) if self.top else papers


def grid_of(features: Features, layers: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the finest of these layers."""
    return max((features.patches[k].shape[:2] for k in layers), key=lambda g: g[0] * g[1])


def joined(
    features: Features, layers: Sequence[int], grid: tuple[int, int], pooling: int = 1
) -> Descriptors:
    """The layers' channels side by side, one descriptor a position.

    Args:
        features: of one picture.
        layers: in the order in which their channels are joined.
        grid: rows and columns of positions; layers of another grid are interpolated bilinearly.
        pooling: average each layer over this many patches squared first; odd.

    Returns:
        (rows * columns, D) float32, row by row, D the sum of the layers' channels.
    """
    parts = [_resized(neighbourhood_mean(features.patches[k], pooling), *grid) for k in layers]
    whole = np.concatenate(parts, axis=-1)
    return whole.reshape(-1, whole.shape[-1])


def nearest(
    queries: Descriptors, bank: Descriptors
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Euclidean distance from each query to its nearest row of a bank, and which row that is.

    Args:
        queries: (Q, D) float32.
        bank: (N, D) float32, N at least 1.

    Returns:
        (Q,) float32 distances, exactly 0 to an equal row, and (Q,) row numbers.
    """
    squares = np.einsum("nd,nd->n", bank, bank)
    best = np.full(len(queries), np.inf, np.float32)
    rows = np.zeros(len(queries), np.intp)
    step = max(1, _AT_ONCE // len(queries))
    for start in range(0, len(bank), step):
        # |q - b|^2 less |q|^2, which is the same for every row
        away = squares[start : start + step] - 2 * (queries @ bank[start : start + step].T)
        closest = away.argmin(axis=1)
        found = away[np.arange(len(queries)), closest]
        closer = found < best
        best[closer], rows[closer] = found[closer], start + closest[closer]
    return np.asarray(np.linalg.norm(queries - bank[rows], axis=1), np.float32), rows


def _resized(patches: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(h, w, D) interpolated to (height, width, D), any number of channels."""
    h, w = patches.shape[:2]
    if (h, w) == (height, width):
        return patches
    rows, columns = _bilinear(height, h), _bilinear(width, w)
    whole = np.einsum("Yy,yxd,Xx->YXd", rows, patches, columns, optimize=True)
    return np.asarray(whole, np.float32)


def _bilinear(length: int, given: int) -> NDArray[np.float32]:
    """(length, given): the share that each given cell has in each new one, about cell centres."""
    places = (np.arange(length) + 0.5) * given / length - 0.5
    places = places.clip(0, given - 1)
    shares = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(given)))
    return np.asarray(shares, np.float32)
