"""Drawings: numbers in their regions, legible on anything, and little of the part hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from blemish.regions.division import Division, fill, from_regions, grid, outline, superpixel
from blemish.regions.marks import Mark, draw, marks
from blemish.synthesis.procedural import make_part
from blemish.types import Image, Region

BLANK = np.zeros((768, 768, 3), np.uint8)


def region(top: int, left: int, height: int, width: int) -> Region:
    mask = np.ones((height, width), np.bool_)
    return Region(1, (left, top, left + width, top + height), mask, 0.5, "top")


def inside(mark: Mark, array: NDArray[Any]) -> NDArray[Any]:
    x0, y0, x1, y1 = mark.box
    return array[y0:y1, x0:x1]


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance as WCAG 2 defines it, in [0, 1]."""
    share = pixels / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ (0.2126, 0.7152, 0.0722))


@pytest.fixture(scope="module")
def part() -> Image:
    return make_part("nut", 3, size=(768, 768)).sample.image


@pytest.fixture(scope="module")
def superpixels(part: Image) -> Division:
    return superpixel(part)


@pytest.fixture(scope="module")
def tiny() -> Division:
    """Small regions alone, at the picture's edges, in a crowd, and within a large one."""
    spots = [(10, 760, 8, 8), (760, 0, 8, 5), (200, 200, 4, 40), (330, 330, 15, 15)]
    crowd = [(500 + 16 * i, 500 + 16 * j, 16, 16) for i in range(2) for j in range(2)]
    return from_regions([region(*s) for s in (*spots, *crowd, (300, 300, 150, 150))], 768, 768)


def test_every_number_lies_in_its_region_clear_of_the_outlines(superpixels: Division) -> None:
    for division in (superpixels, grid(BLANK)):
        found = marks(division)
        assert [mark.number for mark in found] == list(range(1, division.count + 1))
        lines = outline(division.labels)
        for mark in found:
            assert mark.tip is None
            assert (inside(mark, division.labels) == mark.number).all()
            assert not inside(mark, lines).any()


def test_a_number_stands_as_near_to_the_centre_as_its_region_allows() -> None:
    labels = np.zeros((768, 768), np.int32)
    labels[100:150, 100:125] = 1  # an L, whose centre of mass lies outside of it
    labels[135:150, 100:200] = 1
    (mark,) = marks(Division(labels, "regions"))
    x0, y0, x1, y1 = mark.box
    centre = np.argwhere(labels == 1).mean(0)

    def distance(top: int, left: int) -> float:
        middle = (top + (y1 - y0) // 2, left + (x1 - x0) // 2)
        return float(((middle - centre) ** 2).sum())

    free = [
        distance(top, left)
        for top in range(100, 151)
        for left in range(100, 201)
        if (labels[top : top + y1 - y0, left : left + x1 - x0] == 1).all()
    ]
    assert labels[tuple(np.rint(centre).astype(int))] == 0
    assert distance(y0, x0) == min(free)


def test_numbers_grow_with_their_regions_and_shrink_until_they_fit() -> None:
    sizes = [
        marks(from_regions([region(50, 50, *shape)], 768, 768))[0].size
        for shape in ((40, 40), (70, 70), (300, 300), (600, 13), (13, 600), (600, 5))
    ]
    assert sizes[:3] == sorted(set(sizes[:3]))
    assert sizes[2] == 20
    assert max(sizes[3:]) < 20


@pytest.mark.parametrize("shape", [(5, 5), (3, 200), (200, 3), (1, 1)])
def test_a_number_that_fits_nowhere_lies_over_the_region(shape: tuple[int, int]) -> None:
    for top, left in ((0, 0), (768 - shape[0], 768 - shape[1]), (300, 300)):
        division = from_regions([region(top, left, *shape)], 768, 768)
        (mark,) = marks(division)
        x0, y0, x1, y1 = mark.box
        assert 0 <= x0 < x1 <= 768
        assert 0 <= y0 < y1 <= 768
        assert inside(mark, division.labels).any()
        if 300 in (top, left):  # over its middle
            assert abs((y0 + y1) / 2 - (top + shape[0] / 2)) <= 1
            assert abs((x0 + x1) / 2 - (left + shape[1] / 2)) <= 1


def test_nothing_but_outlines_and_numbers_is_drawn(part: Image, superpixels: Division) -> None:
    before = part.copy()
    for division, most in ((superpixels, 0.07), (grid(part), 0.13)):
        drawn = draw(part, division)
        changed = (drawn != part).any(2)
        lines = outline(division.labels)
        numbers = np.zeros_like(lines)
        for mark in marks(division):
            inside(mark, numbers)[:] = True
        assert (drawn[lines] == 255).all()
        assert not changed[~lines & ~numbers].any()
        assert changed.mean() < most
        assert (draw(part, division) == drawn).all()
    assert (part == before).all()


def test_a_number_takes_little_of_its_region(superpixels: Division) -> None:
    for division in (superpixels, grid(BLANK)):
        taken = [inside(mark, division.labels).size for mark in marks(division)]
        assert (taken <= division.areas[1:] / 6).all()


def test_numbers_are_legible_on_any_ground(superpixels: Division) -> None:
    """What two drawings on opposite grounds share is opaque: white strokes in a dark rim."""
    noise = np.random.default_rng(0).integers(0, 2, (768, 768, 1)) * 255
    ground = np.repeat(noise.astype(np.uint8), 3, axis=2)
    one, other = draw(ground, superpixels), draw(255 - ground, superpixels)
    opaque = (one == other).all(2)
    bright = luminance(one)
    strokes, rims = opaque & (bright > 0.7), opaque & (bright < 0.1)
    assert (np.median(bright[strokes]) + 0.05) / (np.median(bright[rims]) + 0.05) > 15
    for mark in marks(superpixels):
        number, safe = (inside(mark, layer) for layer in (strokes, opaque))
        assert number.sum() >= 12
        around = ndimage.binary_dilation(number, np.ones((3, 3)))
        assert safe[around].all()  # no stroke touches the ground
        assert (inside(mark, rims) & around).sum() >= 15


@pytest.mark.parametrize("number", [1, 8, 47])
def test_the_number_drawn_is_the_number(number: int, superpixels: Division) -> None:
    drawn = draw(BLANK, superpixels)
    mark = marks(superpixels)[number - 1]
    picture = Pillow.new("L", (100, 60))
    font = ImageFont.load_default(mark.size)
    ImageDraw.Draw(picture).text((20, 20), str(number), 255, font)
    expected = np.asarray(picture) > 128
    ys, xs = np.nonzero(expected)
    expected = expected[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    strokes = inside(mark, drawn[..., 0]) > 128
    ys, xs = np.nonzero(strokes)
    found = strokes[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    assert found.shape == expected.shape
    assert (found == expected).mean() > 0.95


def test_marks_stay_off_small_regions(tiny: Division) -> None:
    image = np.full_like(BLANK, 90)
    drawn = draw(image, tiny, avoid_small=True)
    small = [number for number in range(1, 9) if tiny.areas[number]]
    alone = np.isin(tiny.labels, small[:4])
    assert (drawn[alone] == image[alone]).all()
    crowd = np.isin(tiny.labels, small[4:])
    hidden = (drawn != image).any(2)
    assert (hidden[crowd] == outline(tiny.labels)[crowd]).all()
    assert (draw(image, tiny) != image).any(2)[alone].any()


def test_numbers_beside_small_regions_are_tied_to_them_and_apart(tiny: Division) -> None:
    found = marks(tiny, avoid_small=True)
    assert [mark.number for mark in found] == list(range(1, 10))
    taken = np.zeros((768, 768), int)
    for mark in found:
        inside(mark, taken)[:] += 1
        if mark.number == 9:
            assert mark.tip is None
            continue
        assert mark.tip
        x, y = mark.tip
        beside = tiny.labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert (beside == mark.number).any()
        assert not np.isin(inside(mark, tiny.labels), range(1, 9)).any()
        x0, y0, x1, y1 = mark.box
        away = np.hypot(max(x0 - x, x - x1 + 1, 0), max(y0 - y, y - y1 + 1, 0))
        assert 4 < away < 40
    assert taken.max() == 1


def test_a_small_region_without_a_free_place_keeps_its_number() -> None:
    crowd = [region(200 + 24 * i, 200 + 24 * j, 24, 24) for i in range(9) for j in range(9)]
    found = marks(from_regions(crowd, 768, 768), avoid_small=True)
    assert found[40].tip is None  # in the middle, farther from the crowd's edge than is looked
    assert sum(mark.tip is not None for mark in found) > 30
    assert len(found) == 81


def test_numbers_without_pixels_get_no_mark() -> None:
    division = from_regions([region(0, 0, 90, 90), region(0, 0, 90, 90)], 768, 768)
    assert [mark.number for mark in marks(division)] == [2]
    nothing = from_regions([], 768, 768)
    assert marks(nothing) == ()
    assert (draw(BLANK, nothing, avoid_small=True) == BLANK).all()
    assert not fill(nothing, {}, 5, 5).any()


def test_a_picture_of_another_size_is_brought_to_the_working_size() -> None:
    image = make_part("board", 1, size=(100, 300)).sample.image
    assert draw(image, grid(image)).shape == (768, 768, 3)
