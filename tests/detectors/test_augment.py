"""Turned references, and telling the part from what it lies on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.detectors._augment import Background, turned
from blemish.types import Features

PART = np.zeros((12, 12), bool)
PART[3:9, 3:9] = True


def scene(seed: int, part: NDArray[np.bool_], flip: int = 1) -> Features:
    """Tokens whose first value tells the part (5) from the background (-5), the rest noise."""
    tokens = np.random.default_rng(seed).normal(0, 0.1, (*part.shape, 4))
    tokens[..., 0] += flip * np.where(part, 5, -5)
    other = np.zeros((2, 2, 4), np.float32)
    return Features(other[0, 0], {1: other, 2: tokens.astype(np.float32)})


@pytest.mark.parametrize(
    ("how", "count"), [("none", 1), ("flips", 3), ("rotations", 4), ("both", 8)]
)
def test_turned_views_are_different_and_the_picture_itself_is_first(how: str, count: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    views = turned(image, how)
    np.testing.assert_array_equal(views[0], image)
    assert len({(v.shape, v.tobytes()) for v in views}) == len(views) == count
    assert all(sorted(v.ravel()) == sorted(image.ravel()) for v in views)
    assert all(v.flags.c_contiguous for v in views)


def test_both_ways_of_turning_hold_what_each_gives() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    every = {v.tobytes() for v in turned(image, "both")}
    assert every >= {v.tobytes() for how in ("flips", "rotations") for v in turned(image, how)}


@pytest.mark.parametrize("flip", [1, -1])
def test_distances_more_than_two_patches_off_the_part_are_silenced(flip: int) -> None:
    background = Background.learn([scene(s, PART, flip) for s in range(3)])
    assert background.used
    off = PART.copy()
    off[:] = False
    off[4:6, 5:7] = True  # this part is smaller and lies elsewhere
    distances = np.random.default_rng(1).random((12, 12)).astype(np.float32) + 0.1
    (silenced,) = background.silence([distances], scene(7, off, flip))
    kept = np.zeros((12, 12), bool)
    kept[2:8, 3:9] = True
    np.testing.assert_array_equal(silenced, np.where(kept, distances, 0))


def test_a_layer_with_another_grid_is_silenced_in_the_same_places() -> None:
    background = Background.learn([scene(s, PART) for s in range(3)])
    corner = np.zeros((12, 12), bool)
    corner[:4, :4] = True  # with two patches around it the upper left quarter
    (silenced,) = background.silence([np.ones((2, 2), np.float32)], scene(7, corner))
    assert silenced.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    "part",
    [
        np.random.default_rng(3).random((12, 12)) > 0.5,  # no sides at all
        np.ones((12, 12), bool) & (np.arange(12) < 3),  # one border only
        np.pad(np.ones((2, 2), bool), 5),  # too small to fill the middle
    ],
    ids=["mixed", "stripe", "dot"],
)
def test_no_background_is_told_apart_where_borders_and_middles_do_not_differ(
    part: NDArray[np.bool_],
) -> None:
    background = Background.learn([scene(s, part) for s in range(3)])
    assert not background.used
    distances = np.ones((12, 12), np.float32)
    (kept,) = background.silence([distances], scene(7, PART))
    np.testing.assert_array_equal(kept, distances)


def test_a_background_survives_saving() -> None:
    background = Background.learn([scene(s, PART) for s in range(2)])
    back = Background.from_arrays(background.arrays())
    np.testing.assert_array_equal(back.mean, background.mean)
    np.testing.assert_array_equal(back.axis, background.axis)
    assert (back.layer, back.used) == (2, True)
