"""`spade` on a stand-in encoder: the paper's rules in plain loops, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors._concatenated import joined
from blemish.detectors.spade import Spade
from blemish.types import Detector, Encoder, Inspection, Sample

One = Callable[[Detector, Sample], Inspection]
Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Make = Callable[..., Spade]
SIDE = 112


@pytest.fixture
def make(published: Make) -> Make:
    """Builds the detector at the stand-in encoder's size, with options."""
    return partial(published, "spade")


def seen(cells: Encoder, sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Global feature and descriptors."""
    (features,) = cells.encode(sample.images[:1], layers=(1, 2), size=SIDE)
    rows = joined(features, (1, 2), (8, 8)).astype(np.float64)
    return features.class_token.astype(np.float64), rows


@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_map_and_score_are_the_papers(
    neighbours: int,
    make: Make,
    cells: Encoder,
    good: list[Sample],
    broken: Sample,
    bilinear: Enlarge,
    one: One,
) -> None:
    token, patches = seen(cells, broken)
    known = [seen(cells, s) for s in good[:5]]
    away = [math.dist(token, other) for other, _ in known]
    alike = sorted(range(5), key=lambda i: away[i])[:neighbours]
    gallery = [row for i in alike for row in known[i][1]]
    plain = np.array([min(math.dist(p, g) for g in gallery) for p in patches]).reshape(8, 8)

    found = one(make(sigma=0, neighbours=neighbours).fit(good[:5]), broken)
    assert found.raw_score == pytest.approx(sum(away[i] for i in alike) / len(alike), rel=1e-5)
    assert found.maps[0] == pytest.approx(bilinear(plain, SIDE, SIDE), abs=1e-5)
    assert found.evidence["nearest_references"] == [good[i].id for i in alike]


def test_a_reference_has_nothing_odd(make: Make, good: list[Sample], one: One) -> None:
    detector = make(neighbours=1).fit(good[:3])
    for sample in good[:3]:
        found = one(detector, sample)
        assert (found.raw_score, found.maps[0].max()) == (0, 0)
        assert found.evidence["nearest_references"] == [sample.id]


def test_the_evidence_names_five_references_each_once(
    make: Make, good: list[Sample], one: One
) -> None:
    pairs = [Sample([a.image, b.image], id=a.id) for a, b in zip(good[:8], good[8:16], strict=True)]
    named = one(make().fit(pairs), good[17]).evidence["nearest_references"]
    assert len(named) == len(set(named)) == 5
