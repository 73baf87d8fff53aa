"""Figures of verdicts, calibrated scores and repeated answers, beside counts by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
)

from blemish.errors import InputError, OptionError, UndefinedMetricError
from blemish.metrics.answers import (
    Agreement,
    agreement,
    expected_calibration_error,
    verdict_figures,
)
from blemish.types import Verdict


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_without_unsure_the_figures_are_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    pairs = [(True, True), (False, False), *pairs]
    labels, called = (list(side) for side in zip(*pairs, strict=True))
    found = verdict_figures(labels, ["anomalous" if c else "normal" for c in called])
    assert found.accuracy == pytest.approx(accuracy_score(labels, called), abs=1e-12)
    assert found.balanced_accuracy == pytest.approx(
        balanced_accuracy_score(labels, called), abs=1e-12
    )
    assert found.precision == pytest.approx(precision_score(labels, called), abs=1e-12)
    assert found.recall == pytest.approx(recall_score(labels, called), abs=1e-12)
    assert found.f1 == pytest.approx(f1_score(labels, called), abs=1e-12)
    assert found.miss == pytest.approx(1 - recall_score(labels, called), abs=1e-12)
    assert (found.coverage, found.unsure) == (1.0, 0.0)


def test_unsure_is_never_right_and_stands_beside() -> None:
    labels = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    verdicts: list[Verdict] = [
        *("anomalous", "anomalous", "normal", "unsure"),
        *("normal", "normal", "anomalous", "unsure", "unsure"),
    ]
    found = verdict_figures(labels, verdicts)
    assert found.accuracy == 4 / 9
    assert found.coverage == 6 / 9
    assert found.unsure == 3 / 9
    assert found.recall == 2 / 4
    assert found.precision == 2 / 3
    assert found.f1 == 4 / 7  # as if unsure parts had been passed
    assert found.balanced_accuracy == pytest.approx((2 / 4 + 2 / 5) / 2)
    assert found.overkill == 1 / 5
    assert found.miss == 1 / 4


def test_what_one_class_leaves_undefined_is_none() -> None:
    good = verdict_figures([0, 0], ["normal", "anomalous"])
    assert (good.accuracy, good.overkill, good.precision) == (0.5, 0.5, 0.0)
    assert (good.recall, good.f1, good.miss, good.balanced_accuracy) == (None,) * 4
    bad = verdict_figures([1, 1], ["normal", "unsure"])
    assert (bad.accuracy, bad.recall, bad.f1, bad.miss) == (0.0, 0.0, 0.0, 0.5)
    assert (bad.overkill, bad.precision, bad.balanced_accuracy) == (None, None, None)


def test_verdicts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="No labels"):
        verdict_figures([], [])
    with pytest.raises(InputError, match=r"verdicts\[1\] is 'yes'"):
        verdict_figures([0, 1], ["normal", "yes"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="2 labels came with 1 verdicts"):
        verdict_figures([0, 1], ["normal"])


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 1) | st.sampled_from([0.0, 0.2, 1.0])), min_size=1
    ),
    st.integers(1, 20),
)
def test_calibration_error_is_what_a_loop_says(pairs: list[tuple[bool, float]], bins: int) -> None:
    expected, edges = 0.0, np.linspace(0, 1, bins + 1)
    for number in range(bins):
        inside = [
            (label, score)
            for label, score in pairs
            if edges[number] < score <= edges[number + 1] or (score == 0 and number == 0)
        ]
        if inside:
            gap = sum(score for _, score in inside) - sum(label for label, _ in inside)
            expected += abs(gap) / len(pairs)
    labels, scores = zip(*pairs, strict=True)
    assert expected_calibration_error(labels, scores, bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_at_its_ends() -> None:
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0
    assert expected_calibration_error([1, 0], [0.0, 1.0]) == 1.0
    assert expected_calibration_error([0, 1, 0, 1], [0.5] * 4) == 0.0
    assert expected_calibration_error([0, 0], [0.25, 0.25]) == 0.25


@pytest.mark.parametrize("bad", [1.5, -0.1, np.nan])
def test_scores_that_are_no_probabilities_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match=rf"scores\[1\] is {bad}"):
        expected_calibration_error([0, 1], [0.5, bad])
    with pytest.raises(OptionError, match="0 bins"):
        expected_calibration_error([0, 1], [0.5, 0.5], 0)


def test_kappa_of_fleiss_own_example() -> None:
    """Table 1 of the paper's textbook case: 10 items, 14 raters, 5 categories; kappa 0.210."""
    table = [
        *((0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1)),
        *((7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7)),
    ]
    answers = [[k for k, n in enumerate(row) for _ in range(n)] for row in table]
    found = agreement(answers)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)
    assert found.pairwise == pytest.approx(0.378, abs=5e-4)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=3, max_size=3), min_size=1))
def test_pairwise_agreement_is_the_mean_over_pairs(answers: list[list[str]]) -> None:
    shares = [np.mean([a == b for a, b in itertools.combinations(i, 2)]) for i in answers]
    assert agreement(answers).pairwise == pytest.approx(float(np.mean(shares)), abs=1e-12)


def test_kappa_of_two_answers_both_ways_round_is_cohens() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 40)
    second = np.where(rng.random(40) < 0.6, first, rng.integers(0, 3, 40))
    there, back = np.append(first, second), np.append(second, first)
    found = agreement([list(pair) for pair in zip(there.tolist(), back.tolist(), strict=True)])
    assert found.kappa == pytest.approx(cohen_kappa_score(there, back), abs=1e-12)


def test_agreement_at_its_ends() -> None:
    assert agreement([["a", "a"], ["b", "b"]]) == Agreement(1.0, 1.0)
    assert agreement([["a", "b"]]) == Agreement(0.0, -1.0)
    assert agreement([["a", "a"], ["a", "a"]]) == Agreement(1.0, None)


def test_answers_that_cannot_agree_are_refused() -> None:
    nothing: list[list[Any]] = [[], [[]], [["a"]]]
    for answers in nothing:
        with pytest.raises(UndefinedMetricError, match="two or more"):
            agreement(answers)
    with pytest.raises(InputError, match=r"Item 1 has 3 answers, the first has 2"):
        agreement([["a", "a"], ["a", "a", "a"]])
