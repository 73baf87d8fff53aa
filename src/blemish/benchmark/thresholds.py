"""From scores to verdicts where a table asks for another rule than the detector's own.

Each rule gives one raw score: a picture above it is called anomalous, any other normal. "best"
and "unified" choose it by looking at the test labels, as the documents do: oracles that no plant
has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blemish.errors import UndefinedMetricError
from blemish.types import Verdict

Curve = list[tuple[float, float]]

RULES = {
    "own": "the detector's own verdict",
    "max-of-normals": "above the highest score of the references, each left out in turn",
    "best": "above the raw score with the best accuracy on the test labels: an oracle",
    "unified": "above the one raw score with the best mean accuracy over the categories on the "
    "test labels: an oracle",
}
"""Of `Run.threshold`, in words."""


def curve(labels: Sequence[bool], scores: Sequence[float]) -> Curve:
    """Accuracy against the threshold.

    Args:
        labels: N, True where anomalous.
        scores: N raw scores.

    Returns:
        (threshold, accuracy), rising: one below the lowest score, then each distinct score.
        Between two of them the accuracy stays that of the lower.

    >>> curve([False, True, True], [0.25, 0.5, 0.75])[1:]
    [(0.25, 1.0), (0.5, 0.6666666666666666), (0.75, 0.3333333333333333)]
    """
    candidates = _candidates([scores])
    right = _accuracy(labels, scores, candidates)
    return list(zip(candidates.tolist(), right.tolist(), strict=True))


def best(categories: Sequence[tuple[Sequence[bool], Sequence[float]]]) -> float:
    """The threshold with the best mean accuracy over categories; the lowest of several.

    Args:
        categories: labels and raw scores of each, as for `curve`; one alone gives its own best.
    """
    candidates = _candidates([scores for _, scores in categories])
    means = np.mean([_accuracy(*category, candidates) for category in categories], axis=0)
    return float(candidates[int(np.argmax(means))])


def above_normals(scores: Sequence[float]) -> float:
    """The highest score of normal pictures, none of which the detector has seen.

    Raises:
        UndefinedMetricError: there is no such score.
    """
    if not scores:
        raise UndefinedMetricError(
            "The highest score of the normals is not defined: each is scored by what the others "
            "teach, and there are no others. Take 2 shots or more."
        )
    return max(scores)


def verdicts(scores: Sequence[float | None], threshold: float) -> list[Verdict]:
    """Verdicts by a threshold; "unsure" where there is no score."""
    return [
        "unsure" if score is None else "anomalous" if score > threshold else "normal"
        for score in scores
    ]


def _candidates(scores: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    every = np.unique(np.concatenate([np.asarray(some, np.float64) for some in scores]))
    if not every.size:
        raise UndefinedMetricError("No picture has a score, so there is no threshold.")
    return np.asarray(np.r_[np.nextafter(every[0], -np.inf), every], np.float64)


def _accuracy(
    labels: Sequence[bool], scores: Sequence[float], candidates: NDArray[np.float64]
) -> NDArray[np.float64]:
    truth, values = np.asarray(labels, np.bool_), np.asarray(scores, np.float64)
    found = truth.sum() - np.searchsorted(np.sort(values[truth]), candidates, "right")
    passed = np.searchsorted(np.sort(values[~truth]), candidates, "right")
    return np.asarray((found + passed) / truth.size, np.float64)
