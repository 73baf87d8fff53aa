"""What every figure asks of its labels, scores, maps and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import InputError, OptionError, UndefinedMetricError
from blemish.types import Mask


def finite(values: NDArray[Any], name: str) -> None:
    """Raise InputError naming the first index where an array is NaN or infinite."""
    fine = np.isfinite(values)
    if not fine.all():
        place = tuple(np.argwhere(~fine)[0].tolist())
        raise InputError(
            f"{name}[{', '.join(map(str, place))}] is {values[place]}; expected a finite number. "
            "Find out where it came from: leaving it out would change the figure."
        )


def labels_of(labels: ArrayLike) -> NDArray[np.bool_]:
    """(N,) bool out of bools or the numbers 0 and 1, True where anomalous."""
    found = np.asarray(labels)
    if found.ndim != 1:
        raise InputError(f"Labels have shape {found.shape}; expected (N,), one a sample.")
    if found.size == 0:
        raise UndefinedMetricError("No labels came; a figure needs at least one sample.")
    if found.dtype != np.bool_:
        wrong = np.flatnonzero((found != 0) & (found != 1))
        if wrong.size:
            raise InputError(
                f"labels[{wrong[0]}] is {found[wrong[0]]}; expected 1 or True for anomalous, "
                "0 or False for normal."
            )
    return found.astype(np.bool_)


def scores_of(scores: ArrayLike, count: int) -> NDArray[Any]:
    """(N,) float32 or float64 scores, finite, as many as there are labels."""
    found = np.asarray(scores)
    if found.shape != (count,):
        raise InputError(f"Scores have shape {found.shape}; expected ({count},), one a label.")
    return _real(found, "scores")


def map_of(anomaly_map: ArrayLike, name: str) -> NDArray[Any]:
    """(H, W) float32 or float64 map, finite."""
    found = np.asarray(anomaly_map)
    if found.ndim != 2:
        raise InputError(f"{name} has shape {found.shape}; expected (H, W).")
    return _real(found, name)


def mask_of(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Mask:
    """(H, W) bool mask of its map's shape."""
    found = np.asarray(mask)
    if found.shape != shape or found.dtype != np.bool_:
        raise InputError(
            f"{name} has shape {found.shape} and dtype {found.dtype}; expected {shape} bool, the "
            "size of its map. Resize the map, never the mask: that would move the figure."
        )
    return found


def fpr_limit(limit: float) -> None:
    """Raise OptionError unless 0 < limit <= 1."""
    if not 0.0 < limit <= 1.0:
        raise OptionError(
            f"The false positive rate's limit is {limit}; expected a number above 0, at most 1."
        )


def _real(values: NDArray[Any], name: str) -> NDArray[Any]:
    if values.dtype.kind not in "buif":
        raise InputError(f"{name} has dtype {values.dtype}; expected real numbers.")
    wide = values.astype(
        np.float32 if values.dtype in (np.float16, np.float32) else np.float64, copy=False
    )
    finite(wide, name)
    return wide
