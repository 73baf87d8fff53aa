"""Ranking figures beside scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from blemish.errors import InputError, UndefinedMetricError
from blemish.metrics.ranking import auroc, average_precision, f1_max

ALL: tuple[Callable[..., Any], ...] = (auroc, average_precision, f1_max)
Scored = tuple[NDArray[np.bool_], NDArray[np.float64]]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """Both classes, 2 to 60 samples, scores on a coarse grid (ties) or of any size."""
    count = draw(st.integers(2, 60))
    labels = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    labels[:2] = False, True
    value = st.integers(-6, 6).map(float) | st.floats(-1e6, 1e6, width=32)
    return labels, np.array(draw(st.lists(value, min_size=count, max_size=count)))


def best_f1(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    return float(np.max(2 * precision * recall / np.where(total > 0, total, 1.0)))


@given(scored())
def test_figures_equal_scikit_learn(case: Scored) -> None:
    labels, scores = case
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert f1_max(labels, scores)[0] == pytest.approx(best_f1(labels, scores), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
def test_figures_equal_scikit_learn_on_many_scores(dtype: Any, share: float) -> None:
    rng = np.random.default_rng(7)
    labels = rng.random(50_000) < share
    scores = (300 * (rng.standard_normal(labels.size) + labels)).astype(dtype)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert f1_max(labels, scores)[0] == pytest.approx(best_f1(labels, scores), abs=1e-12)


@given(scored())
def test_the_threshold_reaches_the_f1_and_no_higher_one_does(case: Scored) -> None:
    labels, scores = case

    def f1(threshold: float) -> float:
        called = scores >= threshold
        return 2.0 * float((called & labels).sum()) / float(called.sum() + labels.sum())

    value, threshold = f1_max(labels, scores)
    assert f1(threshold) == pytest.approx(value, abs=1e-12)
    assert all(f1(higher) < value + 1e-12 for higher in scores)
    assert all(f1(higher) < value - 1e-12 for higher in scores[scores > threshold])


@given(scored())
def test_a_strictly_monotone_transform_changes_nothing(case: Scored) -> None:
    labels, scores = case
    ranks = np.unique(scores, return_inverse=True)[1]
    for figure in (auroc, average_precision):
        assert figure(labels, scores) == figure(labels, ranks.astype(float) ** 3 - 5)
    assert f1_max(labels, scores)[0] == f1_max(labels, ranks)[0]


@given(scored())
def test_scores_turned_round_turn_auroc_round(case: Scored) -> None:
    labels, scores = case
    assert auroc(labels, -scores) == pytest.approx(1 - auroc(labels, scores), abs=1e-12)
    assert auroc(~labels, scores) == pytest.approx(1 - auroc(labels, scores), abs=1e-12)


def test_equal_scores_give_a_half_and_the_share_of_anomalous() -> None:
    labels, scores = [0, 0, 0, 1], [2.5] * 4
    assert auroc(labels, scores) == 0.5
    assert average_precision(labels, scores) == 0.25
    assert f1_max(labels, scores) == (0.4, 2.5)


def test_of_two_thresholds_as_good_the_higher_is_given() -> None:
    """One of two found without a false alarm, or both with two: F1 is 2/3 either way."""
    assert f1_max([1, 0, 0, 1], [4.0, 3.0, 2.0, 1.0]) == (2 / 3, 4.0)


def test_both_zeros_are_one_score() -> None:
    assert auroc([0, 1], [0.0, -0.0]) == 0.5


def test_the_caller_keeps_the_scores_as_they_were() -> None:
    scores = np.array([3.0, 1.0, 2.0])
    auroc([0, 1, 0], scores)
    assert scores.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("figure", ALL)
def test_one_class_only_is_undefined(figure: Callable[..., Any]) -> None:
    with pytest.raises(UndefinedMetricError, match="are normal"):
        figure([0, 0], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match="are anomalous"):
        figure([True, True], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match="No labels"):
        figure([], [])


@pytest.mark.parametrize("figure", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named(figure: Callable[..., Any], bad: float) -> None:
    with pytest.raises(InputError, match=rf"scores\[2\] is {bad}"):
        figure([0, 1, 1], [0.1, 0.2, bad])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], r"labels\[2\] is 2"),
        ([[0, 1]], [0.1, 0.2], r"Labels have shape \(1, 2\)"),
        ([0, 1], [0.1, 0.2, 0.3], r"Scores have shape \(3,\)"),
        ([0, 1], ["a", "b"], "real numbers"),
    ],
)
def test_labels_and_scores_that_do_not_fit_are_refused(
    labels: Any, scores: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        auroc(labels, scores)
