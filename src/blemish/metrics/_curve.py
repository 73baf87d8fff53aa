"""From counts at thresholds to figures, shared by the functions on arrays and the accumulator.

Lowering a threshold past a normal score adds a false alarm and no detection. So every figure here
has a closed form that changes only where an anomalous score lies, and needs no sort of the rest
together with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import UndefinedMetricError


@dataclass(frozen=True, eq=False)
class Curve:
    """How many are called anomalous at each threshold where an anomalous score lies.

    Attributes:
        thresholds: (T,) float, strictly falling; `score >= threshold` is called anomalous.
        hits: (T,) int64, anomalous scores equal to the threshold.
        false_above: (T,) int64, normal scores above the threshold.
        false_at: (T,) int64, normal scores at or above it.
        negatives: number of normal scores.

    Raises:
        UndefinedMetricError: there is no anomalous or no normal score.
    """

    thresholds: NDArray[Any]
    hits: NDArray[np.int64]
    false_above: NDArray[np.int64]
    false_at: NDArray[np.int64]
    negatives: int

    def __post_init__(self) -> None:
        if not self.thresholds.size or not self.negatives:
            only = "normal" if self.negatives else "anomalous"
            raise UndefinedMetricError(
                f"The figure is not defined: all labels or pixels are {only}, and it needs "
                "both normal and anomalous ones."
            )

    @classmethod
    def of(cls, rising: NDArray[Any], hits: NDArray[np.int64], negatives: NDArray[Any]) -> Curve:
        """The curve of scores.

        Args:
            rising: (T,) float, the different anomalous scores in rising order.
            hits: (T,) int64, how often each of them came.
            negatives: (N,) float normal scores; sorted in place, which saves their copy.
        """
        negatives.sort()
        false_at = negatives.size - np.searchsorted(negatives, rising, "left")
        false_above = negatives.size - np.searchsorted(negatives, rising, "right")
        return cls(rising[::-1], hits[::-1], false_above[::-1], false_at[::-1], negatives.size)

    def auroc(self) -> float:
        """Share of pairs (anomalous, normal) in the right order, ties counted half."""
        wrong = self.false_above / self.negatives + self.false_at / self.negatives
        return float(1.0 - self.hits @ wrong / (2.0 * self.hits.sum()))

    def average_precision(self) -> float:
        """Precision at each threshold times the recall gained there, summed."""
        found = np.cumsum(self.hits)
        return float(self.hits @ (found / (found + self.false_at)) / found[-1])

    def f1_max(self) -> tuple[float, float]:
        """Best F1 and the threshold that reaches it, the highest of several."""
        found = np.cumsum(self.hits)
        f1 = 2.0 * found / (found[-1] + found + self.false_at)
        best = int(np.argmax(f1))
        return float(f1[best]), float(self.thresholds[best])

    def overlap(self, gains: NDArray[np.float64], limit: float) -> float:
        """Area under mean overlap against false positive rate up to a limit, divided by it.

        The curve starts at (0, 0) and has one point per different score, joined by straight
        lines: level where only normal scores lie, slanted where both do.

        Args:
            gains: (T,) float64, mean overlap that each threshold adds, 1 in total.
            limit: highest false positive rate, above 0, at most 1.
        """
        reached = np.cumsum(gains)
        before = np.concatenate([[0.0], reached[:-1]])
        # At each threshold two points: before its anomalous scores are called so, and after.
        rate = np.stack([self.false_above, self.false_at], axis=1).ravel() / self.negatives
        height = np.stack([before, reached], axis=1).ravel()
        rate = np.concatenate([[0.0], rate, [1.0]])
        height = np.concatenate([[0.0], height, [reached[-1]]])
        inside = int(np.searchsorted(rate, limit, "right"))
        end = np.interp(limit, rate[inside - 1 : inside + 1], height[inside - 1 : inside + 1])
        rate = np.append(rate[:inside], limit)
        height = np.append(height[:inside], end)
        return float(np.trapezoid(height, rate) / limit)
