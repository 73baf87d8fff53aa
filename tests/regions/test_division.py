"""Divisions against plain loops: what is kept, in which order, and what a map is filled with."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from blemish.errors import InputError, MissingExtraError, OptionError
from blemish.regions import division
from blemish.regions.division import (
    Division,
    fill,
    from_regions,
    grid,
    outline,
    superpixel,
    working,
)
from blemish.synthesis.procedural import make_part
from blemish.types import Image, Region

BLANK = np.zeros((768, 768, 3), np.uint8)


class Masks:
    """A segmenter that always finds the same."""

    name = fingerprint = "masks"

    def __init__(self, *boxes: tuple[int, int, int, int]) -> None:
        self.found = np.zeros((len(boxes), 768, 768), np.bool_)
        for mask, (top, left, bottom, right) in zip(self.found, boxes, strict=True):
            mask[top:bottom, left:right] = True

    def masks(self, image: Image) -> NDArray[np.bool_]:
        assert image.shape == (768, 768, 3)
        return self.found


def firsts(labels: NDArray[np.int32]) -> list[int]:
    """The numbers in order of their first pixels, row by row."""
    numbers, places = np.unique(labels, return_index=True)
    return [int(n) for _, n in sorted(zip(places, numbers, strict=True)) if n]


def region(top: int, left: int, bottom: int, right: int) -> Region:
    mask = np.ones((bottom - top, right - left), np.bool_)
    return Region(1, (left, top, right, bottom), mask, 0.5, "top")


@pytest.fixture(scope="module", params=["brushed", "nut"])
def part(request: pytest.FixtureRequest) -> Image:
    return make_part(request.param, 3, size=(200, 300)).sample.image


@pytest.mark.parametrize("cell", [48, 50])
def test_a_grid_is_numbered_row_by_row_without_cells_that_are_too_small(cell: int) -> None:
    labels = grid(BLANK, cell).labels
    number = 0
    for top in range(0, 768, cell):
        for left in range(0, 768, cell):
            inside = labels[top : top + cell, left : left + cell]
            number += inside.size >= 600
            assert (inside == (number if inside.size >= 600 else 0)).all()
    assert labels.max() == number == {48: 256, 50: 255}[cell]


def test_superpixels_cover_the_picture_in_connected_numbered_pieces(part: Image) -> None:
    found = division.superpixel(part)
    assert 30 <= found.count <= 70
    assert found.areas[0] == 0
    assert firsts(found.labels) == list(range(1, found.count + 1))
    for number in range(1, found.count + 1):
        _, pieces = ndimage.label(found.labels == number)  # 4-connected
        assert pieces == 1
        assert 600 <= found.areas[number] <= 120_000


def test_superpixels_follow_an_edge_that_a_grid_cuts() -> None:
    image = BLANK.copy()
    image[:, 300:] = 255
    found = division.superpixel(image)
    left, right = np.unique(found.labels[:, :300]), np.unique(found.labels[:, 300:])
    assert not set(left.tolist()) & set(right.tolist())
    assert (division.superpixel(image).labels == found.labels).all()


@pytest.mark.parametrize("seed", range(4))
def test_of_overlapping_masks_the_smaller_lies_on_top(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 600, (12, 2))
    sizes = rng.integers(15, 400, (12, 2))
    segmenter = Masks(*np.hstack((corners, np.minimum(corners + sizes, 768))).tolist())
    found = division.sam(BLANK, segmenter)

    allowed = [m for m in segmenter.found if 600 <= m.sum() <= 120_000]
    owner = np.zeros((768, 768), int)
    for i, mask in sorted(enumerate(allowed, 1), key=lambda im: (-im[1].sum(), im[0])):
        owner[mask] = i
    expected = []
    for i in range(1, len(allowed) + 1):
        pieces, count = ndimage.label(owner == i)
        expected += [m for j in range(1, count + 1) if (m := pieces == j).sum() >= 600]
    expected.sort(key=lambda m: int(m.argmax()))
    assert found.count == len(expected) > 3
    for number, mask in enumerate(expected, 1):
        assert (mask == (found.labels == number)).all()


def test_the_limits_themselves_are_kept() -> None:
    segmenter = Masks((0, 0, 1, 599), (10, 0, 30, 30), (100, 0, 300, 600))
    assert division.sam(BLANK, segmenter).areas[1:].tolist() == [600, 120_000]
    segmenter = Masks((0, 0, 1, 599), (100, 0, 300, 600))
    segmenter.found[1, 400, 0] = True
    assert division.sam(BLANK, segmenter).count == 0


def test_a_mask_cut_in_two_becomes_two_regions() -> None:
    found = division.sam(BLANK, Masks((100, 0, 200, 300), (100, 100, 200, 150)))
    assert [int(found.labels[150, x]) for x in (50, 120, 250)] == [1, 2, 3]


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40))
def test_filling_takes_the_nearest_pixel_and_nothing_in_between(height: int, width: int) -> None:
    found = grid(BLANK)
    scores = {number: number / 512 for number in range(2, 257, 2)}
    filled = fill(found, scores, height, width)
    assert filled.dtype == np.float32
    for y in range(height):
        for x in range(width):
            row, column = int((y + 0.5) * 768 / height), int((x + 0.5) * 768 / width)
            assert filled[y, x] == scores.get(int(found.labels[row, column]), 0)


def test_filling_with_the_numbers_gives_the_labels_back(part: Image) -> None:
    found = division.sam(BLANK, Masks((0, 0, 40, 40), (90, 10, 400, 300)))
    numbers = {number: float(number) for number in range(1, found.count + 1)}
    assert (fill(found, numbers, 768, 768) == found.labels).all()
    assert (fill(found, numbers, 1536, 2304)[::2, ::3] == found.labels).all()


@pytest.mark.parametrize("scores", [{0: 0.5}, {257: 0.5}, {3: float("nan")}])
def test_a_score_that_belongs_nowhere_is_refused(scores: dict[int, float]) -> None:
    with pytest.raises(InputError, match="region from 1 to 256"):
        fill(grid(BLANK), scores, 10, 10)


def test_own_regions_keep_their_numbers_and_the_smaller_lies_on_top() -> None:
    given = [region(0, 0, 10, 10), region(100, 100, 300, 300), region(150, 150, 160, 160)]
    found = from_regions(given, 768, 768)
    expected = np.zeros((768, 768), int)
    for number, part in ((2, given[1]), (1, given[0]), (3, given[2])):
        x0, y0, x1, y1 = part.box
        expected[y0:y1, x0:x1] = number
    assert (found.labels == expected).all()
    assert from_regions([], 10, 10).count == 0


def test_a_hidden_region_leaves_the_other_numbers_alone() -> None:
    found = from_regions([region(0, 0, 9, 9), region(0, 0, 9, 9), region(20, 20, 30, 30)], 768, 768)
    assert np.unique(found.labels).tolist() == [0, 2, 3]


def test_own_regions_stay_whole_at_any_size() -> None:
    scratch = np.eye(2000, dtype=np.bool_)  # one pixel wide, twice as large as the working size
    found = from_regions([Region(1, (0, 0, 2000, 2000), scratch, 0.5, "centre")], 2000, 2000)
    assert (np.diagonal(found.labels) == 1).all()
    assert ndimage.label(found.labels, np.ones((3, 3)))[1] == 1
    small = from_regions([region(1, 2, 3, 4)], 4, 8)
    assert (small.labels[192:576, 192:384] == 1).all()
    assert small.areas[1] == 384 * 192
    assert (fill(small, {1: 1.0}, 4, 8) > 0).sum() == 4


def test_a_region_of_another_view_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        from_regions([region(0, 0, 10, 30)], 20, 20)


@given(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))
)
def test_an_outline_is_one_pixel_on_the_larger_side_of_a_border(labels: NDArray[np.int32]) -> None:
    lines = outline(labels)
    areas = {n: (labels == n).sum() if n else labels.size + 1 for n in np.unique(labels).tolist()}
    for (y, x), own in np.ndenumerate(labels):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [p for p in near if p[0] in range(len(labels)) and p[1] in range(len(labels[0]))]
        beside = {int(labels[p]) for p in inside}
        assert lines[y, x] == any((areas[n], n) < (areas[int(own)], own) for n in beside)


def test_the_outlines_of_a_grid_are_15_lines_each_way() -> None:
    lines = outline(grid(BLANK).labels)
    across, down = np.flatnonzero(lines.all(1)), np.flatnonzero(lines.all(0))
    assert across.tolist() == down.tolist() == list(range(48, 768, 48))
    assert lines.sum() == 30 * 768 - 15 * 15


def test_the_working_size_squashes_and_keeps_what_is_square() -> None:
    image = make_part("board", 1, size=(100, 400)).sample.image
    squashed = working(image)
    assert squashed.shape == (768, 768, 3)
    assert (working(squashed) == squashed).all()
    assert np.abs(squashed.mean((0, 1)) - image.mean((0, 1))).max() < 1


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((100, 100), np.int32),
        np.zeros((768, 768), np.int64),
        np.full((768, 768), -1, np.int32),
    ],
)
def test_labels_of_another_form_are_refused(labels: NDArray[np.int32]) -> None:
    with pytest.raises(InputError, match=r"expected \(768, 768\) int32"):
        Division(labels, "grid")


def test_options_out_of_range_are_refused() -> None:
    for cell in (24, 347):
        with pytest.raises(OptionError, match="25 to 346"):
            grid(BLANK, cell)
    for segments, compactness in ((4, 20.0), (60, 0.0)):
        with pytest.raises(OptionError, match="60 and 20"):
            division.superpixel(BLANK, segments, compactness)


def test_without_scikit_image_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for part in ("segmentation", "measure"):
        monkeypatch.setitem(sys.modules, f"skimage.{part}", None)
    with pytest.raises(MissingExtraError, match=r'pip install "blemish\[llm\]"'):
        superpixel(np.zeros((20, 20, 3), np.uint8))
