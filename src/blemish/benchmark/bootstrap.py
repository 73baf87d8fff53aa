"""The paired bootstrap of `compare`: how far a difference can be chance of the pictures drawn."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from blemish.errors import UndefinedMetricError
from blemish.metrics import ranking

_CHUNK = 1 << 22
"""Pairs of a normal and an anomalous picture that are compared at a time."""

Floats = NDArray[np.float64]


def draw(anomalous: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each picture is in each draw, with replacement and within its label.

    Args:
        anomalous: (N,) bool.
        draws: how many.
        rng: of the draws.

    Returns:
        (draws, N) int64; a row adds up to N.
    """
    counts = np.zeros((draws, anomalous.size), np.int64)
    for label in (False, True):
        own = np.flatnonzero(anomalous == label)
        if own.size:
            counts[:, own] = rng.multinomial(own.size, np.full(own.size, 1 / own.size), size=draws)
    return counts


@dataclass(frozen=True, eq=False)
class Unit:
    """The pictures of one category, in all seeds.

    Attributes:
        anomalous: (N,) bool, the truth.
        scores: two arrays (seeds, N) float64, raw scores of both runs; NaN where there is none.
        right: two arrays (seeds, N) bool, whether the verdict is the label; None without verdicts.
    """

    anomalous: NDArray[np.bool_]
    scores: tuple[Floats, Floats]
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None


def auroc(unit: Unit, draws: int, rng: np.random.Generator) -> tuple[float, float, Floats]:
    """AUROC of both runs, mean over seeds, and the difference in each draw, (draws,).

    Raises:
        UndefinedMetricError: one label only, or a picture without a score.
    """
    if np.isnan(unit.scores).any():
        raise UndefinedMetricError("some pictures have no score")
    if unit.anomalous.all() or not unit.anomalous.any():
        raise UndefinedMetricError("all pictures have the same label")
    a, b = (fmean(ranking.auroc(unit.anomalous, s) for s in scores) for scores in unit.scores)
    counts = draw(unit.anomalous, draws, rng).astype(np.float64)
    bad, good = np.flatnonzero(unit.anomalous), np.flatnonzero(~unit.anomalous)
    total = np.zeros(draws)
    step = max(1, _CHUNK // good.size)
    for some in (bad[i : i + step] for i in range(0, bad.size, step)):
        # How often a pair is in the right order in B rather than in A; a tie is half of it.
        order = np.zeros((some.size, good.size))
        for sign, scores in zip((-1.0, 1.0), unit.scores, strict=True):
            for one in scores:
                order += sign / 2 * np.sign(one[some][:, None] - one[good])
        order /= len(unit.scores[0])
        total += ((counts[:, some] @ order) * counts[:, good]).sum(1)
    return a, b, total / (bad.size * good.size)


def accuracy(unit: Unit, draws: int, rng: np.random.Generator) -> tuple[float, float, Floats]:
    """Accuracy of both runs, mean over seeds, and the difference in each draw, (draws,).

    Raises:
        UndefinedMetricError: a run without verdicts.
    """
    if unit.right is None:
        raise UndefinedMetricError("one of the runs gives scores but no verdicts")
    a, b = (right.mean(0) for right in unit.right)
    moved = draw(unit.anomalous, draws, rng) @ (b - a) / unit.anomalous.size
    return float(a.mean()), float(b.mean()), moved
