"""Masks survive encoding, and the strings are those of the algorithm that COCO published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from blemish.errors import InputError
from blemish.rle import decode, encode
from blemish.settings import settings

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def plain_encode(mask: Any) -> str:
    """`rleEncode` and `rleToString` of pycocotools' maskApi.c, in plain loops."""
    counts, value, run = [], False, 0
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if mask[y, x] != value:
                counts.append(run)
                run, value = 0, not value
            run += 1
    counts.append(run)
    return plain_text(n - counts[i - 2] if i > 2 else n for i, n in enumerate(counts))


def plain_text(numbers: Iterable[int]) -> str:
    """The latter's inner loop: 5 bits a character."""
    text = ""
    for number in numbers:
        more = True
        while more:
            bits = number & 0x1F
            number >>= 5
            more = number != -1 if bits & 0x10 else number != 0
            text += chr(bits + (0x20 if more else 0) + 48)
    return text


@given(MASKS)
def test_encoding_equals_the_published_loops_and_decoding_undoes_it(mask: Any) -> None:
    rle = encode(mask)
    assert rle["counts"] == plain_encode(mask)
    assert rle["size"] == list(mask.shape)
    back = decode(rle)
    np.testing.assert_array_equal(back, mask)
    assert back.dtype == np.bool_


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((300, 1000), dtype=bool)
    mask[:, 5:800] = True
    mask[100, 900:950] = True
    mask[7, 0] = True
    assert encode(mask)["counts"] == plain_encode(mask)
    np.testing.assert_array_equal(decode(encode(mask)), mask)


# By hand: a number below 16 is one character, chr(48 + number); 16 needs a second one for its
# sign bit, 16 + 32 + 48 = "`" and then "0"; -1 is 31 + 48 = "O"; -16 is 16 + 48 = "@".
BY_HAND = [
    ([[0, 1], [0, 1]], "22"),
    ([[1, 1], [1, 1]], "04"),
    ([[0, 0], [0, 0]], "4"),
    ([[0, 0], [1, 1]], "1110"),  # Runs 1 1 1 1, of which the fourth is written 1 - 1.
    ([[0, 1, 1, 0]], "121"),
    ([[1] * 16], "0`0"),
    ([[1] * 33], "0Q1"),  # 33 is 1 + 32 * 1: 1 + 32 + 48 = "Q", then "1".
    ([[0, 1, 1, 0, 1]], "121O"),  # Runs 1 2 1 1, the fourth written 1 - 2.
    ([[0] + [1] * 17 + [0] + [1]], "1a01@"),  # Runs 1 17 1 1, the fourth written 1 - 17.
]


@pytest.mark.parametrize(("rows", "counts"), BY_HAND)
def test_strings_derived_by_hand(rows: Any, counts: str) -> None:
    mask = np.array(rows, dtype=bool)
    assert encode(mask) == {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(decode({"size": mask.shape, "counts": counts}), mask)


@pytest.mark.parametrize(
    ("rle", "why"),
    [
        ({}, "its size is None"),
        ({"size": [2], "counts": "4"}, "its size"),
        ({"size": [2, 0], "counts": "0"}, "its size"),
        ({"size": [2, 2.0], "counts": "4"}, "its size"),
        ({"size": [2, True], "counts": "2"}, "its size"),
        ({"size": "22", "counts": "4"}, "its size"),
        ({"size": [10**9, 10**9], "counts": "4"}, "exceeds .* pixels"),
        ({"size": [2, 2]}, "its counts are None"),
        ({"size": [2, 2], "counts": [4]}, r"its counts are \[4\]"),
        ({"size": [2, 2], "counts": ""}, "at least one character"),
        ({"size": [2, 2], "counts": "/"}, "outside '0' to 'o'"),
        ({"size": [2, 2], "counts": "2p"}, "outside '0' to 'o'"),
        ({"size": [2, 2], "counts": "\ud800"}, "outside '0' to 'o'"),
        ({"size": [2, 2], "counts": "2R"}, "middle of a number"),
        ({"size": [2, 2], "counts": "5"}, "do not add up to the 4 pixels"),
        ({"size": [2, 2], "counts": "21"}, "do not add up"),
        ({"size": [2, 2], "counts": "3O2"}, "lengths -1 to 3"),
        ({"size": [2, 2], "counts": "P" * 7 + "0"}, "a number of 8 characters"),
    ],
)
def test_malformed_masks_are_refused(rle: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        decode(rle)


def test_runs_whose_sum_overflows_are_refused() -> None:
    # Runs that grow until they add up to 2**64 + 4, which 64 bits hold as 4, the pixels expected.
    # Each number counts once for itself and for every second one after it.
    half = 2**16
    step, rest = divmod(2**64 + 4, half * (half + 1))
    numbers = [0] + [step] * (2 * half)
    numbers[1] += rest // half
    numbers[1 + 2 * (half - rest % half)] += 1
    with pytest.raises(InputError, match="do not add up"):
        decode({"size": [2, 2], "counts": plain_text(numbers)})


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_gives_a_mask_or_one_kind_of_error(text: str) -> None:
    try:
        mask = decode({"size": [3, 5], "counts": text})
    except InputError:
        return
    assert mask.shape == (3, 5)


def test_the_limit_of_pixels_is_that_of_pictures() -> None:
    side = settings().max_pixels
    with pytest.raises(InputError, match="BLEMISH_MAX_PIXELS"):
        decode({"size": [1, side + 1], "counts": "0"})


def test_what_is_no_mask_is_refused() -> None:
    wrongs: list[Any] = [
        np.zeros((3, 3)),
        np.zeros((3, 3, 1), dtype=bool),
        np.zeros((0, 3), dtype=bool),
    ]
    for wrong in wrongs:
        with pytest.raises(InputError, match=r"expected \(H, W\) bool"):
            encode(wrong)
