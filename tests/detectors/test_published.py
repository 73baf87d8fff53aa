"""What `padim`, `patchcore` and `spade` promise alike; their own rules have files of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from blemish.synthesis.procedural import make_part
from blemish.types import Detector, Inspection, Sample

One = Callable[[Detector, Sample], Inspection]
Raw = Callable[[Detector, Sample], float]
Make = Callable[..., Detector]
SIDE = 112


@pytest.fixture(params=["padim", "patchcore", "spade"])
def make(published: Make, request: pytest.FixtureRequest) -> Make:
    """Builds one of the detectors, with options."""
    return partial(published, request.param)


def test_a_stained_part_is_found_where_the_stain_is(
    make: Make, good: list[Sample], one: One
) -> None:
    example = make_part("brushed", 103, defect="stain", size=(SIDE, SIDE))
    assert example.mask is not None
    found = one(make(layers=(1,)).fit(good), example.sample)
    assert found.maps[0][example.mask].mean() > 2 * found.maps[0][~example.mask].mean()
    assert example.mask[np.unravel_index(int(found.maps[0].argmax()), (SIDE, SIDE))]


def test_the_order_of_the_references_changes_nothing(
    make: Make, good: list[Sample], broken: Sample, one: One, raw: Raw
) -> None:
    first, second = (make().fit(some) for some in (good[:5], good[4::-1]))
    assert one(first, broken).maps[0] == pytest.approx(one(second, broken).maps[0], rel=1e-4)
    assert raw(first, broken) == pytest.approx(raw(second, broken), rel=1e-5)
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.location == pytest.approx(second.calibration.location, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        *(("padim", {}, 2), ("padim", {}, 5), ("patchcore", {}, 3)),
        *(("spade", {"neighbours": 2}, 3), ("spade", {}, 3)),
        ("spade", {"neighbours": 2, "top": 0.01}, 3),
    ],
)
def test_it_is_calibrated_on_each_reference_against_the_others(
    name: str, options: dict[str, Any], count: int, published: Make, good: list[Sample], raw: Raw
) -> None:
    pairs = [Sample([good[i].image, good[-i].image]) for i in (6, 7)]
    known = [*good[:count], *pairs[: count - 2]]
    rest = [[s for s in known if s is not own] for own in known]
    alone = [published(name, **options).fit(some) for some in rest]
    scores = [raw(detector, own) for detector, own in zip(alone, known, strict=True)]
    calibration = published(name, **options).fit(known).calibration
    assert calibration is not None
    assert calibration.n == len(known)
    assert calibration.location == pytest.approx(np.log(scores).mean(), abs=1e-4)


def test_a_part_is_as_odd_as_its_oddest_view(
    make: Make, good: list[Sample], broken: Sample, one: One, raw: Raw
) -> None:
    detector = make().fit(good[:3])
    views = [good[5], broken, good[6]]
    found = one(detector, Sample([v.image for v in views]))
    assert found.raw_score == max(raw(detector, v) for v in views)


def test_the_image_score_takes_the_map_where_top_asks_for_it(
    make: Make, good: list[Sample], broken: Sample, one: One, raw: Raw
) -> None:
    found = one(make(top=1).fit(good[:3]), broken)
    assert found.raw_score == pytest.approx(found.maps[0].mean(), rel=1e-5)
    assert found.raw_score != raw(make().fit(good[:3]), broken)
