"""What is coloured is what has regions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blemish.calibration import Calibration
from blemish.regions.from_map import begin
from blemish.runs.pictures import Point, painted, scored
from blemish.types import AnomalyMap

CALIBRATION = Calibration.from_normals([0.1, 0.12, 0.11])
LIMIT = CALIBRATION.threshold
MAPS = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32))


def both(raw: AnomalyMap, point: Point) -> tuple[AnomalyMap, AnomalyMap]:
    """A map as it is painted, and as it scores."""
    heat, scores = painted(raw, point), scored(raw, point)
    assert heat is not None
    assert scores is not None
    return heat, scores


@given(MAPS)
def test_half_is_where_regions_begin(raw: AnomalyMap) -> None:
    low = begin(raw, LIMIT)
    heat, _ = both(raw, CALIBRATION)
    clear = np.abs(raw - low) > 1e-3 * low  # scores are float32
    assert ((heat > 0.5) == (raw > low))[clear & (heat < 1)].all()
    assert (heat[raw < 0.999 * low] <= 0.5).all()


@given(MAPS, st.sampled_from((CALIBRATION, 0.8, 0.3)))
def test_what_is_painted_keeps_its_order_and_is_never_more_than_the_score(
    raw: AnomalyMap, point: Point
) -> None:
    heat, scores = both(raw, point)
    assert heat.dtype == np.float32
    assert (heat <= scores + 1e-6).all()
    order = np.argsort(raw, axis=None)
    assert (np.diff(heat.ravel()[order]) >= 0).all()


def test_a_map_that_nothing_raises_is_painted_as_it_scores() -> None:
    raw = np.full((20, 20), 0.3 * LIMIT, np.float32)
    raw[3:6, 3:6] = 1.2 * LIMIT
    heat, scores = both(raw, CALIBRATION)
    np.testing.assert_allclose(heat, scores, atol=1e-6)


def test_a_defect_that_raises_the_whole_map_is_coloured_where_it_stands_out() -> None:
    raw = np.full((90, 90), 1.2 * LIMIT, np.float32)
    raw[10:20, 10:20] = 6 * LIMIT
    heat, scores = both(raw, CALIBRATION)
    assert (scores > 0.5).all()
    assert ((heat > 0.5) == (raw > 2 * LIMIT)).all()


def test_without_a_limit_nothing_is_painted() -> None:
    assert painted(np.ones((2, 2), np.float32), None) is None
    assert painted(None, CALIBRATION) is None
