"""What a view's score becomes at its pixels, held against the rule written out in loops."""

from __future__ import annotations

import numpy as np
import pytest

from blemish.errors import InputError
from blemish.modalities._shares import shares
from blemish.types import Inspection, Region


def inspection(score: float | None, maps: tuple = (), regions: tuple = ()) -> Inspection:  # type: ignore[type-arg]
    return Inspection("a", "normal", "calibration", score=score, maps=maps, regions=regions)


def region(box: tuple[int, int, int, int], score: float, view: int = 0) -> Region:
    x0, y0, x1, y1 = box
    mask = np.ones((y1 - y0, x1 - x0), np.bool_)
    mask[0, 0] = False
    return Region(1, box, mask, score, "centre", view)


@pytest.mark.parametrize(("low", "high"), [(0.0, 4.0), (2.0, 4.0), (-3.0, 1.0), (-3.0, -1.0)])
def test_a_map_shares_the_score_out_between_its_floor_and_its_highest_value(
    low: float, high: float
) -> None:
    raw = np.random.default_rng(0).uniform(low, high, (5, 7)).astype(np.float32)
    found = shares(inspection(0.8, (raw,)), 0, 5, 7)
    floor = 0.0 if raw.min() >= 0 else float(raw.min())
    for y in range(5):
        for x in range(7):
            expected = 0.8 * (float(raw[y, x]) - floor) / (float(raw.max()) - floor)
            assert found[y, x] == pytest.approx(expected, abs=1e-6)
    assert found.dtype == np.float32
    assert found.max() == np.float32(0.8)


def test_each_view_has_its_own_highest_value() -> None:
    maps = (np.array([[1, 2]], np.float32), np.array([[5, 10]], np.float32))
    for view in (0, 1):
        np.testing.assert_allclose(shares(inspection(1.0, maps), view, 1, 2), [[0.5, 1.0]])


@pytest.mark.parametrize("value", [-2.0, 0.0, 3.0])
def test_a_map_of_one_value_gives_the_whole_view_the_score(value: float) -> None:
    maps = (np.full((2, 2), value, np.float32),)
    assert (shares(inspection(0.25, maps), 0, 2, 2) == 0.25).all()


def test_values_that_are_no_numbers_get_nothing_and_leave_the_others_alone() -> None:
    maps = (np.array([[np.nan, 1, 2, np.inf]], np.float32),)
    np.testing.assert_allclose(shares(inspection(1.0, maps), 0, 1, 4), [[0.5, 0.5, 1.0, 0.5]])


def test_without_a_map_regions_of_the_view_get_their_own_score() -> None:
    regions = (region((1, 1, 3, 3), 0.9), region((2, 1, 4, 3), 0.6), region((0, 0, 1, 4), 0.7, 1))
    found = shares(inspection(0.5, (), regions), 0, 4, 5)
    expected = np.zeros((4, 5))
    expected[1, 2] = 0.9
    expected[2, 1:3] = 0.9
    expected[1:3, 3] = 0.6
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_map_and_regions_the_whole_view_gets_the_score() -> None:
    assert (shares(inspection(0.3), 0, 2, 3) == np.float32(0.3)).all()


def test_no_score_is_no_information() -> None:
    maps = (np.ones((2, 2), np.float32),)
    assert not shares(inspection(None, maps, (region((0, 0, 2, 2), 0.9),)), 0, 2, 2).any()


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="size of the view"):
        shares(inspection(1.0, (np.ones((2, 2), np.float32),)), 0, 4, 4)
