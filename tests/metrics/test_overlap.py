"""AU-PRO and sPRO beside plain loops over thresholds and regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blemish.errors import InputError, OptionError, UndefinedMetricError
from blemish.metrics.overlap import LOCO_LIMITS, au_pro, loco_spro, saturation_area, spro
from blemish.types import Mask

Loops = Callable[..., float]


def square(side: int, *pixels: tuple[int, int]) -> Mask:
    mask = np.zeros((side, side), np.bool_)
    for pixel in pixels:
        mask[pixel] = True
    return mask


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3, 1.0])
def test_au_pro_is_what_the_loops_say(
    seed: int, limit: float, make: Any, au_pro_by_loops: Loops
) -> None:
    maps, masks = make(seed, levels=(5, 40)[seed % 2])
    assert au_pro(maps, masks, limit) == pytest.approx(
        au_pro_by_loops(maps, masks, limit), abs=1e-12
    )


def test_au_pro_by_hand() -> None:
    """Two regions of 1 and 2 pixels and 4 normal pixels, none tied."""
    mask = np.array([[True, False, True, True], [False, False, False, False]])
    values = np.array([[0.9, 0.8, 0.7, 0.1], [0.6, 0.5, 0.0, 0.05]], np.float32)
    # Overlap 1/2 from the start, 3/4 from a rate of 1/5, 1 from 3/5.
    assert au_pro([values], [mask], 0.2) == pytest.approx(0.5, abs=1e-12)
    assert au_pro([values], [mask], 0.4) == pytest.approx((0.5 + 0.75) / 2, abs=1e-12)
    assert au_pro([values], [mask], 1.0) == pytest.approx(0.1 + 0.3 + 0.4, abs=1e-12)


def test_equal_scores_give_the_diagonal() -> None:
    maps, mask = [np.full((4, 4), 3.0, np.float32)], square(4, (1, 1), (3, 3))
    assert au_pro(maps, [mask], 0.3) == pytest.approx(0.15, abs=1e-12)
    assert au_pro(maps, [mask], 1.0) == pytest.approx(0.5, abs=1e-12)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    """Found: 1 of 3 pixels of one region, not one whole region of two."""
    mask = square(4, (0, 0), (1, 1), (1, 2))
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = 1.0
    values[3] = 0.5
    flat = 4 / 13  # rate up to which only (0, 0) is found
    assert au_pro([values], [mask], flat) == pytest.approx(1 / 3, abs=1e-12)


def test_one_region_with_all_of_it_on_top_is_perfect() -> None:
    mask = square(5, (2, 2), (2, 3))
    assert au_pro([mask.astype(np.float32)], [mask]) == pytest.approx(1.0, abs=1e-12)


def test_good_images_count_as_normal_pixels(make: Any, au_pro_by_loops: Loops) -> None:
    maps, masks = make(3)
    good = np.full_like(maps[0], 5.0)
    more, drawn = [*maps, good], [*masks, np.zeros_like(masks[0])]
    assert au_pro(more, drawn, 0.2) == 0.0 < au_pro(maps, masks, 0.2)
    assert au_pro(more, drawn, 0.5) == pytest.approx(au_pro_by_loops(more, drawn, 0.5), abs=1e-12)


@settings(deadline=None)  # the first call imports OpenCV
@given(st.integers(0, 10_000))
def test_a_strictly_monotone_transform_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, (3, 6, 6))
    masks = list(rng.random(values.shape) < 0.2)
    masks[0][0, 0] = True
    maps: list[NDArray[Any]] = list(values.astype(np.float32))
    other: list[NDArray[Any]] = list(np.exp(values.astype(np.float64)) - 40)
    defects = [[(mask, max(1, int(mask.sum()) // 2))] if mask.any() else [] for mask in masks]
    assert au_pro(maps, masks) == au_pro(other, masks)
    assert spro(maps, defects) == spro(other, defects)


@pytest.mark.parametrize("seed", range(6))
def test_spro_is_what_the_loops_say(seed: int, spro_by_loops: Loops) -> None:
    """Defects of one image may overlap; each has a saturation area of its own."""
    rng = np.random.default_rng(seed)
    maps = [rng.integers(0, 12, (9, 7)).astype(np.float32) for _ in range(3)]
    drawn: list[list[tuple[Mask, int]]] = [[], [], []]
    for defects in drawn[1:]:
        for _ in range(2):
            mask = np.zeros((9, 7), np.bool_)
            y, x = rng.integers(0, 5, 2)
            mask[y : y + 4, x : x + 3] = True
            defects.append((mask, int(rng.integers(1, mask.sum() + 1))))
    plain = [
        [([tuple(p) for p in np.argwhere(mask).tolist()], area) for mask, area in defects]
        for defects in drawn
    ]
    found = spro(maps, drawn)
    assert tuple(found) == LOCO_LIMITS
    for limit, value in found.items():
        assert value == pytest.approx(spro_by_loops(maps, plain, limit), abs=1e-12)


def test_spro_with_the_whole_area_as_saturation_is_au_pro(make: Any) -> None:
    maps, masks = make(1)
    mask = square(12, (1, 1), (1, 2), (2, 2))
    maps, masks = [maps[0], maps[1]], [np.zeros_like(mask), mask]
    assert spro(maps, [[], [(mask, 3)]], (0.3,))[0.3] == pytest.approx(
        au_pro(maps, masks, 0.3), abs=1e-12
    )


def test_loco_takes_each_kind_with_good_and_averages() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((6, 6)).astype(np.float32) for _ in range(3)]
    mask = square(6, (1, 1), (1, 2), (4, 4))
    regions: list[list[tuple[Mask, int]]] = [[(mask, 2)], [], [(mask, 1)]]
    found = loco_spro(maps, regions, ["logical_anomalies", "good", "structural_anomalies"])
    assert found.logical == spro(maps[:2], regions[:2])
    assert found.structural == spro(maps[1:], regions[1:])
    assert found.mean[0.05] == (found.logical[0.05] + found.structural[0.05]) / 2
    with pytest.raises(InputError, match=r"kinds\[1\] is 'scratch'"):
        loco_spro(maps, regions, ["good", "scratch", "good"])
    with pytest.raises(UndefinedMetricError, match="no region"):
        loco_spro(maps, regions, ["logical_anomalies", "good", "logical_anomalies"])


def test_saturation_areas_are_whole_pixels() -> None:
    assert saturation_area(100, 0.299, True) == 29
    assert saturation_area(100, 40, False) == 40
    assert saturation_area(30, 40, False) == 30
    assert saturation_area(3, 0.1, True) == 1


def test_no_region_or_no_normal_pixel_is_undefined() -> None:
    maps, empty = [np.ones((3, 3), np.float32)], np.zeros((3, 3), np.bool_)
    with pytest.raises(UndefinedMetricError, match="no region"):
        au_pro(maps, [empty])
    with pytest.raises(UndefinedMetricError, match="no region"):
        au_pro([], [])
    with pytest.raises(UndefinedMetricError, match="no region"):
        spro(maps, [[]])
    with pytest.raises(UndefinedMetricError, match="are anomalous"):
        au_pro(maps, [~empty])


def test_nan_in_a_map_is_named() -> None:
    maps = [np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)]
    maps[1][2, 3] = np.nan
    mask = np.eye(3, 4).astype(np.bool_)
    with pytest.raises(InputError, match=r"maps\[1\]\[2, 3\] is nan"):
        au_pro(maps, [mask, mask])
    with pytest.raises(InputError, match=r"maps\[1\]\[2, 3\] is nan"):
        spro(maps, [[(mask, 1)], [(mask, 1)]])


def test_what_does_not_fit_is_refused() -> None:
    values, mask = np.ones((3, 3), np.float32), np.eye(3, dtype=np.bool_)
    with pytest.raises(InputError, match=r"masks\[0\] has shape \(4, 3\)"):
        au_pro([values], [np.zeros((4, 3), np.bool_)])
    with pytest.raises(InputError, match="dtype uint8"):
        au_pro([values], [mask.astype(np.uint8)])
    with pytest.raises(InputError, match="1 maps came with 2 masks"):
        au_pro([values], [mask, mask])
    with pytest.raises(InputError, match=r"maps\[0\] has shape"):
        au_pro([values[None]], [mask])
    for saturation in (0, 4):
        with pytest.raises(InputError, match=rf"saturation area {saturation}; expected 1 to 3"):
            spro([values], [[(mask, saturation)]])
    for limit in (0.0, 1.1, float("nan")):
        with pytest.raises(OptionError, match="limit"):
            au_pro([values], [mask], limit)
