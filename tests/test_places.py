"""The nine words, held against cells that are painted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import InputError
from blemish.places import POSITIONS, position, position_of, positions


def test_the_words_are_rows_of_three_from_the_top_left() -> None:
    assert POSITIONS[:3] == ("top left", "top", "top right")
    assert POSITIONS[3:6] == ("left", "centre", "right")
    assert POSITIONS[6:] == ("bottom left", "bottom", "bottom right")


@pytest.mark.parametrize(("cell", "word"), list(enumerate(POSITIONS)))
def test_each_cell_has_its_word(cell: int, word: str) -> None:
    # Height and width differ, so that swapped axes show.
    row, column = divmod(cell, 3)
    mask = np.zeros((30, 60), dtype=bool)
    mask[10 * row : 10 * row + 10, 20 * column : 20 * column + 20] = True
    assert positions(mask) == (word,)
    assert position_of(mask) == word
    assert position(10 * row + 5, 20 * column + 10, 30, 60) == word


def test_points_on_lines_and_edges() -> None:
    assert position(0, 0, 30, 30) == "top left"
    assert position(10, 10, 30, 30) == "centre"
    assert position(9.99, 10, 30, 30) == "top"
    assert position(30, 30, 30, 30) == "bottom right"


def test_the_centre_of_mass_is_that_of_pixel_centres() -> None:
    # Columns 0 to 9 of 30: their centre is at 5, and the one of columns 0 to 19 at 10, the line.
    mask = np.zeros((30, 30), dtype=bool)
    mask[12:18, :20] = True
    assert position_of(mask) == "centre"
    mask[12:18, 19] = False
    assert position_of(mask) == "left"


def test_positions_come_in_the_order_of_the_words() -> None:
    assert positions(np.ones((3, 3), dtype=bool)) == POSITIONS
    assert positions(np.zeros((3, 3), dtype=bool)) == ()
    assert positions(np.ones((1, 1), dtype=bool)) == ("centre",)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_single_pixel_is_where_its_centre_is(
    height: int, width: int, data: st.DataObject
) -> None:
    y = data.draw(st.integers(0, height - 1))
    x = data.draw(st.integers(0, width - 1))
    mask = np.zeros((height, width), dtype=bool)
    mask[y, x] = True
    assert positions(mask) == (position_of(mask),) == (position(y + 0.5, x + 0.5, height, width),)


@pytest.mark.parametrize(
    ("y", "x"), [(-0.1, 5), (5, -0.1), (10.1, 5), (5, 20.1), (float("nan"), 5)]
)
def test_a_point_outside_the_picture_is_refused(y: float, x: float) -> None:
    with pytest.raises(InputError, match="outside a picture 20 x 10 pixels"):
        position(y, x, 10, 20)


def test_masks_that_have_no_position_are_refused() -> None:
    with pytest.raises(InputError, match="marks no pixel"):
        position_of(np.zeros((3, 3), dtype=bool))
    wrongs: list[Any] = [
        np.zeros((3, 3)),
        np.zeros((3, 3, 1), dtype=bool),
        np.zeros((0, 3), dtype=bool),
    ]
    for wrong in wrongs:
        for function in (position_of, positions):
            with pytest.raises(InputError, match=r"expected \(H, W\) bool"):
                function(wrong)
