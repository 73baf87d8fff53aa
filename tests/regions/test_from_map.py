"""Regions against a plain flood fill."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blemish.calibration import Calibration
from blemish.places import position_of
from blemish.regions.from_map import begin, regions_from_map

CALIBRATION = Calibration.from_normals([0.1, 0.12, 0.11])
LOW, HIGH = np.float32(0.05), np.float32(0.9)


def flood(above: np.ndarray) -> list[frozenset[tuple[int, int]]]:
    """8-connected components, one pixel at a time."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(above), strict=True)}
    found = []
    while left:
        todo, seen = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            seen.add((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    todo.append(near)
        found.append(frozenset(seen))
    return found


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_regions_are_the_connected_places_above_the_operating_point(above: np.ndarray) -> None:
    raw = np.where(above, HIGH, LOW).astype(np.float32)
    regions = regions_from_map([raw], CALIBRATION)
    drawn = []
    for region in regions:
        x0, y0, _, _ = region.box
        ys, xs = np.nonzero(region.mask)
        drawn.append(frozenset((int(y) + y0, int(x) + x0) for y, x in zip(ys, xs, strict=True)))
    assert sorted(map(sorted, drawn)) == sorted(map(sorted, flood(above)))
    assert [r.label for r in regions] == list(range(1, len(regions) + 1))


def test_score_place_view_and_order() -> None:
    first = np.full((90, 90), LOW)
    first[70:80, 70:85] = 0.4
    second = np.full((60, 30), LOW)
    second[2:6, 2:6] = HIGH
    strong, weak = regions_from_map([first, second], CALIBRATION)
    assert (strong.view, strong.position, strong.box) == (1, "top left", (2, 2, 6, 6))
    assert (weak.view, weak.position, weak.box) == (0, "bottom right", (70, 70, 85, 80))
    assert weak.position == position_of(first > 0.3)
    assert strong.score == CALIBRATION.score(float(HIGH)) > weak.score > 0.5


def test_specks_are_left_out_unless_nothing_else_is_left() -> None:
    raw = np.full((300, 300), LOW)
    raw[0, 0] = HIGH
    assert len(regions_from_map([raw], CALIBRATION)) == 1
    raw[100:140, 100:140] = HIGH
    (region,) = regions_from_map([raw], CALIBRATION)
    assert region.area == 1600


def test_a_normal_map_has_no_region() -> None:
    assert regions_from_map([np.full((50, 50), LOW)], CALIBRATION) == ()


def test_a_defect_that_raises_the_whole_map_is_still_one_place() -> None:
    point = CALIBRATION.threshold
    raw = np.full((90, 90), 1.2 * point, np.float32)
    raw[10:20, 10:20] = 6 * point
    (region,) = regions_from_map([raw], CALIBRATION)
    assert (region.position, region.area) == ("top left", 100)


def test_what_covers_most_of_a_map_is_a_region_too() -> None:
    raw = np.full((90, 90), LOW, np.float32)
    raw[:, 20:] = HIGH
    (region,) = regions_from_map([raw], CALIBRATION)
    assert region.box == (20, 0, 90, 90)


@given(arrays(np.float32, (8, 8), elements=st.floats(0, 1, width=32)))
def test_regions_begin_between_the_operating_point_and_the_maximum(raw: np.ndarray) -> None:
    point = CALIBRATION.threshold
    at = begin(raw, point)
    assert at >= point
    assert at == point or at < raw.max()
