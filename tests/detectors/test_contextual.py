"""Contextual scoring beside a plain loop of equation 4."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.detectors._contextual import contextual_scores, kept

Prompts = tuple[NDArray[np.float32], NDArray[np.bool_]]

cosines = st.integers(-1000, 1000).map(lambda n: n / 1000)  # coarse, so that some are equal
slopes = st.floats(0.1, 8)


@st.composite
def prompts(draw: st.DrawFn) -> Prompts:
    """Cosines of both sides, at least one prompt a side, shuffled among each other."""
    sides = st.lists(cosines, min_size=1, max_size=8)
    normal, abnormal = draw(sides), draw(sides)
    order = draw(st.permutations(range(len(normal) + len(abnormal))))
    similarity = np.array(normal + abnormal, np.float32)
    labels = np.array([False] * len(normal) + [True] * len(abnormal))
    return similarity[order], labels[order]


def of(normal: list[float], abnormal: list[float]) -> Prompts:
    labels = [False] * len(normal) + [True] * len(abnormal)
    return np.array(normal + abnormal, np.float32), np.array(labels, bool)


def who_stays(similarity: NDArray[np.float32], abnormal: NDArray[np.bool_]) -> list[bool]:
    return [bool(k) for k in kept(contextual_scores(similarity, abnormal), abnormal)]


def distance(point: float, interval: list[float]) -> float:
    return max(0.0, max(min(interval) - point, point - max(interval)))


@given(prompts(), slopes)
def test_scores_are_those_of_equation_4_brought_to_0_and_1(some: Prompts, k: float) -> None:
    similarity, abnormal = some
    plain = []
    for cosine in similarity.tolist():
        to_normal = distance(cosine, similarity[~abnormal].tolist())
        to_abnormal = distance(cosine, similarity[abnormal].tolist())
        printed = 1 / (1 + math.exp(-k * abs(to_normal - to_abnormal)))
        plain.append(2 * printed - 1)
    assert contextual_scores(similarity, abnormal, k) == pytest.approx(plain, abs=1e-6)


@given(prompts())
def test_a_prompt_inside_the_other_interval_is_dropped(some: Prompts) -> None:
    similarity, abnormal = some
    stays = who_stays(similarity, abnormal)
    for side in (True, False):
        other = similarity[abnormal != side]
        outside = (similarity < other.min()) | (similarity > other.max())
        own = np.flatnonzero(abnormal == side)
        some_outside = any(outside[i] for i in own)
        for i in own:  # the side is whole where every prompt would go
            assert stays[i] == (outside[i] or not some_outside)


@given(prompts(), st.integers(0, 10**6))
def test_the_order_of_prompts_does_not_matter(some: Prompts, seed: int) -> None:
    similarity, abnormal = some
    order = np.random.default_rng(seed).permutation(len(similarity))
    scores = contextual_scores(similarity, abnormal)
    shuffled = contextual_scores(similarity[order], abnormal[order])
    assert shuffled.tolist() == scores[order].tolist()
    assert kept(shuffled, abnormal[order]).tolist() == kept(scores, abnormal)[order].tolist()


@given(prompts(), st.data())
def test_a_duplicate_changes_nothing(some: Prompts, data: st.DataObject) -> None:
    similarity, abnormal = some
    which = data.draw(st.integers(0, len(similarity) - 1))
    twice = np.append(similarity, similarity[which]), np.append(abnormal, abnormal[which])
    scores = contextual_scores(similarity, abnormal)
    assert contextual_scores(*twice).tolist() == [*scores, scores[which]]
    stays = who_stays(similarity, abnormal)
    assert who_stays(*twice) == [*stays, stays[which]]


@given(prompts(), slopes)
def test_the_slope_changes_scores_but_not_who_stays(some: Prompts, k: float) -> None:
    similarity, abnormal = some
    scores = contextual_scores(similarity, abnormal, k)
    assert kept(scores, abnormal).tolist() == who_stays(similarity, abnormal)


@given(prompts(), slopes)
def test_scores_lie_in_0_to_1_and_rise_with_the_distance(some: Prompts, k: float) -> None:
    similarity, abnormal = some
    scores = contextual_scores(similarity, abnormal, k)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores < 1)).all()
    away = [
        distance(c, similarity[abnormal != side].tolist())
        for c, side in zip(similarity.tolist(), abnormal, strict=True)
    ]
    order = np.argsort(away)
    assert (np.diff(scores[order]) >= 0).all()
    assert ((scores > 0) == (np.array(away) > 0)).all()


@pytest.mark.parametrize(
    ("normal", "abnormal", "stays"),
    [
        pytest.param([0.1, 0.2], [0.3, 0.4], [True] * 4, id="disjoint"),
        pytest.param([0.1, 0.3], [0.2, 0.4], [True, False, False, True], id="overlapping"),
        pytest.param([0.1, 0.2], [0.2, 0.3], [True, False, False, True], id="touching"),
        pytest.param([0.1, 0.4], [0.2, 0.3], [True] * 4, id="nested"),
        pytest.param([0.1, 0.25, 0.4], [0.2, 0.3], [True, False, True, True, True], id="around"),
        pytest.param([0.1, 0.4], [0.1, 0.4], [True] * 4, id="identical"),
    ],
)
def test_intervals_of_every_position(
    normal: list[float], abnormal: list[float], stays: list[bool]
) -> None:
    assert who_stays(*of(normal, abnormal)) == stays
    opposite = stays[len(normal) :] + stays[: len(normal)]
    assert who_stays(*of(abnormal, normal)) == opposite


@pytest.mark.parametrize(("normal", "abnormal"), [([0.1, 0.2], []), ([], [0.3]), ([], [])])
def test_one_side_alone_scores_0_and_stays_whole(
    normal: list[float], abnormal: list[float]
) -> None:
    similarity, labels = of(normal, abnormal)
    assert contextual_scores(similarity, labels).tolist() == [0] * len(labels)
    assert who_stays(similarity, labels) == [True] * len(labels)


def test_what_came_is_left_as_it_was() -> None:
    similarity, abnormal = of([0.1, 0.3], [0.2, 0.4])
    scores = np.zeros(4, np.float32)
    for array in (similarity, abnormal, scores):
        array.setflags(write=False)  # writing raises
    contextual_scores(similarity, abnormal)
    kept(scores, abnormal)
