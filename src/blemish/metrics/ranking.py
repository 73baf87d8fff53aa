"""How well scores rank anomalous above normal: AUROC, average precision, F1-max.

Each equals scikit-learn's figure. Scores are never binned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from blemish.metrics import _checks
from blemish.metrics._curve import Curve


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the receiver operating characteristic.

    The share of pairs of one anomalous and one normal sample that the scores put in the right
    order; a tie counts half.

    Args:
        labels: (N,) bool or 0 and 1, True where anomalous.
        scores: (N,) float, any finite range, higher is more anomalous.

    Returns:
        In [0, 1]; 0.5 where all scores are equal.

    Raises:
        UndefinedMetricError: all labels are the same, or none came.
        InputError: a score is NaN or infinite, or shapes do not fit.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return _curve(labels, scores).auroc()


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under precision and recall, step-wise: sum of (recall gained) x precision.

    Straight lines between the points, as some tools draw them, would give another figure.

    Args:
        labels: (N,) bool or 0 and 1, True where anomalous.
        scores: (N,) float, any finite range, higher is more anomalous.

    Returns:
        In [0, 1]; the share of anomalous samples where all scores are equal.

    Raises:
        UndefinedMetricError: all labels are the same, or none came.
        InputError: a score is NaN or infinite, or shapes do not fit.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 6)
    0.833333
    """
    return _curve(labels, scores).average_precision()


def f1_max(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """The best F1 that any threshold reaches: an oracle, since it looks at the test labels.

    Args:
        labels: (N,) bool or 0 and 1, True where anomalous.
        scores: (N,) float, any finite range, higher is more anomalous.

    Returns:
        The F1 in [0, 1], and the threshold: `score >= threshold` is called anomalous. Of several
        thresholds that reach it, the highest.

    Raises:
        UndefinedMetricError: all labels are the same, or none came.
        InputError: a score is NaN or infinite, or shapes do not fit.

    >>> f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    (0.8, 0.35)
    """
    return _curve(labels, scores).f1_max()


def _curve(labels: ArrayLike, scores: ArrayLike) -> Curve:
    truth = _checks.labels_of(labels)
    values = _checks.scores_of(scores, truth.size)
    return Curve.of(*np.unique(values[truth], return_counts=True), values[~truth])
