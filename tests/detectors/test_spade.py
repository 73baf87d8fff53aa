"""`spade` on a stand-in encoder: the paper's rules in plain loops, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors._concatenated import joined
from blemish.detectors.spade import Spade, SpadeOptions
from blemish.synthesis.procedural import make_part
from blemish.types import Encoder, Inspection, Sample

Enlarge = Callable[[NDArray[Any], int, int], NDArray[np.float64]]
Make = Callable[..., Spade]
SIDE = 112


@pytest.fixture
def make(cells: Encoder) -> Make:
    """Builds the detector at the stand-in encoder's size."""

    def build(**options: Any) -> Spade:
        return Spade(encoder=cells, options=SpadeOptions(**{"size": SIDE, **options}))

    return build


def one(detector: Spade, sample: Sample) -> Inspection:
    (found,) = detector.predict([sample])
    return found


def raw(detector: Spade, sample: Sample) -> float:
    score = one(detector, sample).raw_score
    assert score is not None
    return score


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


def test_a_stained_part_is_found_where_the_stain_is(make: Make, good: list[Sample]) -> None:
    example = make_part("brushed", 103, defect="stain", size=(SIDE, SIDE))
    assert example.mask is not None
    found = one(make(layers=(1,)).fit(good), example.sample)
    assert found.maps[0][example.mask].mean() > 2 * found.maps[0][~example.mask].mean()
    assert example.mask[np.unravel_index(int(found.maps[0].argmax()), (SIDE, SIDE))]


def test_a_reference_has_nothing_odd(make: Make, good: list[Sample]) -> None:
    detector = make(neighbours=1).fit(good[:3])
    for sample in good[:3]:
        found = one(detector, sample)
        assert (found.raw_score, found.maps[0].max()) == (0, 0)
        assert found.evidence["nearest_references"] == [sample.id]


def test_the_order_of_the_references_changes_nothing(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    first, second = (make(neighbours=3).fit(some) for some in (good[:5], good[4::-1]))
    assert one(first, broken).maps[0] == pytest.approx(one(second, broken).maps[0], abs=1e-6)
    assert raw(first, broken) == pytest.approx(raw(second, broken), rel=1e-6)
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.location == pytest.approx(second.calibration.location, abs=1e-6)


@pytest.mark.parametrize("options", [{"neighbours": 2}, {}, {"neighbours": 2, "top": 0.01}])
def test_it_is_calibrated_on_each_reference_against_the_others(
    options: dict[str, Any], make: Make, good: list[Sample]
) -> None:
    known = [*good[:3], Sample([good[4].image, good[5].image])]
    rest = [[s for s in known if s is not one] for one in known]
    scores = [raw(make(**options).fit(some), own) for some, own in zip(rest, known, strict=True)]
    calibration = make(**options).fit(known).calibration
    assert calibration is not None
    assert calibration.n == 4
    assert calibration.location == pytest.approx(np.log(scores).mean(), abs=1e-5)


def test_a_part_is_as_odd_as_its_oddest_view(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    detector = make().fit(good[:3])
    views = [good[5], broken, good[6]]
    found = one(detector, Sample([v.image for v in views]))
    assert found.raw_score == max(raw(detector, v) for v in views)


def test_the_image_score_takes_the_map_where_top_asks_for_it(
    make: Make, good: list[Sample], broken: Sample
) -> None:
    found = one(make(top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(found.maps[0].mean(), rel=1e-5)


def test_the_evidence_names_five_references_each_once(make: Make, good: list[Sample]) -> None:
    pairs = [Sample([a.image, b.image], id=a.id) for a, b in zip(good[:8], good[8:16], strict=True)]
    named = one(make().fit(pairs), good[17]).evidence["nearest_references"]
    assert len(named) == len(set(named)) == 5
