"""Masks as COCO's compressed run-length encoding, as `pycocotools.mask` writes it.

A mask is read column by column; its runs of equal pixels are counted, the first run being of
False and possibly of length 0. From the fourth on, each count is written as its difference from
the count two before it. A number becomes characters of 5 bits each, lowest first: 48 is added,
and 32 where more characters follow; the highest bit of the last one is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypedDict

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError
from blemish.settings import settings
from blemish.types import Mask

_LONGEST = 7
"""Characters of one number: 7 x 5 bits hold any difference of two counts below 2**31."""


class Rle(TypedDict):
    """A mask as COCO stores it: `size` is [height, width], `counts` ASCII."""

    size: list[int]
    counts: str


def encode(mask: Mask) -> Rle:
    """Encode a mask.

    Args:
        mask: (H, W) bool with at least one pixel.

    >>> encode(np.array([[False, True], [False, True]]))
    {'size': [2, 2], 'counts': '22'}
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise InputError(
            f"A mask of shape {mask.shape} and dtype {mask.dtype} came; expected (H, W) bool with "
            "at least one pixel."
        )
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    start = [0, 0] if pixels[0] else [0]
    counts = np.diff(np.concatenate([start, changes, [pixels.size]]))
    counts[3:] -= counts[1:-2]
    return {"size": list(mask.shape), "counts": _write(counts)}


def decode(rle: Mapping[str, Any]) -> Mask:
    """Decode what `encode` or pycocotools wrote.

    Args:
        rle: "size", [height, width], and "counts", the compressed string.

    Returns:
        (H, W) bool.

    Raises:
        InputError: the size or the counts are malformed or disagree.

    >>> decode({"size": [2, 2], "counts": "22"})
    array([[False,  True],
           [False,  True]])
    """
    height, width = _size(rle.get("size"))
    counts = _read(rle.get("counts"))
    # Undo the differences: from the fourth on, each number adds to the count two before it.
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    # Bounding each run first keeps the sum of hostile ones from overflowing.
    pixels = height * width
    if counts.min() < 0 or counts.max() > pixels or counts.sum() != pixels:
        _refuse(
            f"its runs have lengths {counts.min()} to {counts.max()} and do not add up to the "
            f"{pixels} pixels of size {[height, width]}"
        )
    values = np.arange(counts.size) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def _write(numbers: NDArray[np.int64]) -> str:
    """Signed numbers (n,) as text, 5 bits a character."""
    codes = np.zeros((numbers.size, _LONGEST), dtype=np.uint8)
    used = np.zeros((numbers.size, _LONGEST), dtype=bool)
    rest, more = numbers.copy(), np.ones(numbers.size, dtype=bool)
    for place in range(_LONGEST):
        used[:, place] = more
        bits = rest & 31
        rest >>= 5
        more = more & np.where(bits & 16, rest != -1, rest != 0)
        codes[:, place] = bits + 48 + 32 * more
    return codes[used].tobytes().decode("ascii")


def _read(text: Any) -> NDArray[np.int64]:
    """The signed numbers (n,) that a text holds."""
    if not isinstance(text, str) or not text:
        _refuse(f"its counts are {text!r:.60}; expected a text of at least one character")
    raw = text.encode("utf-8", "surrogatepass")
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if codes.min() < 0 or codes.max() > 63:
        _refuse("its counts hold a character outside '0' to 'o'")
    ends = np.flatnonzero(codes < 32)
    if not ends.size or ends[-1] != codes.size - 1:
        _refuse("its counts end in the middle of a number; the text was cut short")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _LONGEST:
        _refuse(f"its counts hold a number of {lengths.max()} characters; at most {_LONGEST} fit")
    starts = ends - lengths + 1
    places = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * places), starts)
    negative = (codes[ends] & 16) > 0
    return np.where(negative, numbers - (np.int64(1) << (5 * lengths)), numbers)


def _size(size: Any) -> tuple[int, int]:
    """Height and width, checked."""
    whole = isinstance(size, list | tuple) and all(type(side) is int and side > 0 for side in size)
    if not whole or len(size) != 2:
        _refuse(f"its size is {size!r:.60}; expected [height, width], whole and above 0")
    if size[0] * size[1] > settings().max_pixels:
        _refuse(
            f"its size {list(size)} exceeds {settings().max_pixels} pixels, the limit that "
            "BLEMISH_MAX_PIXELS sets"
        )
    return size[0], size[1]


def _refuse(why: str) -> NoReturn:
    raise InputError(f"The run-length encoded mask cannot be used: {why}.")
