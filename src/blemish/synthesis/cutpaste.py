"""CutPaste (arXiv 2104.04015): a block cut from one place and pasted, as it is, at another.

>>> from blemish.synthesis.nsa import parameters
>>> from blemish.synthesis.procedural import make_part
>>> good = make_part("wood", 1).sample.image
>>> made = cutpaste(good, good, np.random.default_rng(0), parameters("procedural", "wood"))
>>> len(made.boxes)
1
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blemish.synthesis._paste import (
    Canvas,
    Parameters,
    Synthetic,
    checked,
    part_of,
    pick_source,
    pick_target,
)
from blemish.types import Image, Mask

__all__ = ["cutpaste"]

_TRIES = 40
_AREA = (0.02, 0.15)  # of the picture, of a block
_ASPECT = ((0.3, 1.0), (1.0, 3.3))  # width / height of a block, from either range
_SCAR = ((10.0, 25.0), (2.0, 16.0))  # length and width of a scar at 256 pixels
_TURN = 45  # degrees that a scar is turned by, at most, either way
_MEDIANS = (3, 3)  # pixels: the smallest that keep a scar two pixels wide
_JITTER = 0.1  # of brightness, contrast, saturation and hue


def cutpaste(
    image: Image, source: Image, rng: np.random.Generator, parameters: Parameters
) -> Synthetic:
    """Paste one block, or one long thin turned block (a scar), each as often, into a picture.

    Sizes and the change of colour are the paper's. From `parameters` come the background and how
    much of the part a patch has to show, which the paper does not look at, and the label.

    Args:
        image: (H, W, 3) uint8 RGB, a good part; 16 pixels or more on each side.
        source: (h, w, 3) uint8 RGB, what is cut from: the same picture, as in the paper, or
            another of the class.
        rng: the same state gives the same bytes.
        parameters: background and labels of the class.

    Raises:
        InputError: a picture that is too small or of another form, or no patch that changes it
            visibly.
    """
    canvas = Canvas(image, parameters)
    source = checked(source, "The source")
    part = part_of(source, parameters.background)
    for _ in range(_TRIES):
        scar = bool(rng.random() < 0.5)
        _paste(canvas, source, part, scar, rng)
        if canvas.boxes:
            break
    return canvas.finished()


def _paste(
    canvas: Canvas, source: Image, part: Mask | None, scar: bool, rng: np.random.Generator
) -> None:
    """Try one patch from a random place at another random place."""
    sides = zip(_size(canvas.original, scar, rng), source.shape, strict=False)
    size = tuple(min(side, most) for side, most in sides)
    found = pick_source(part, size, source.shape, canvas.parameters.object_share, rng)
    if found is None:
        return
    box = np.s_[found[0] : found[0] + size[0], found[1] : found[1] + size[1]]
    patch = _jittered(source[box], rng)
    shows = np.ones(size, np.bool_) if part is None else part[box]
    laid = np.ones(size, np.bool_)
    if scar:
        angle = float(rng.uniform(-_TURN, _TURN))
        patch, shows, laid = (_turned(a, angle) for a in (patch, shows, laid))
    where = pick_target(canvas, shows & laid, rng)
    if where is not None:
        before = canvas.at(*where, (laid.shape[0], laid.shape[1]))
        canvas.put(*where, np.where(laid[..., None], patch, before), _MEDIANS)


def _size(image: Image, scar: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width in pixels of a patch before it is turned."""
    height, width = image.shape[:2]
    if scar:
        unit = min(height, width) / 256
        length, across = (max(round(rng.uniform(*side) * unit), 2) for side in _SCAR)
        return length, across
    area = rng.uniform(*_AREA) * height * width
    aspect = rng.uniform(*_ASPECT[rng.integers(2)])
    return min(round(math.sqrt(area / aspect)), height), min(round(math.sqrt(area * aspect)), width)


def _jittered(patch: Image, rng: np.random.Generator) -> Image:
    """The patch (h, w, 3) a little brighter, duller or of another hue; grey stays grey."""
    bright, contrast, colour = rng.uniform(1 - _JITTER, 1 + _JITTER, 3)
    lit = patch.astype(np.float32) / 255 * bright
    lit = np.clip((lit - lit.mean()) * contrast + lit.mean(), 0, 1).astype(np.float32)
    hsv = cv2.cvtColor(lit, cv2.COLOR_RGB2HSV)  # hue in degrees, the others in [0, 1]
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-_JITTER, _JITTER) * 360) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * colour, 1)
    changed: Image = np.round(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)
    return changed


def _turned(array: NDArray[Any], angle: float) -> NDArray[Any]:
    """An array (h, w) bool or (h, w, 3) uint8 turned about its middle, in the box it then needs."""
    height, width = array.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    across, along = abs(turn[0, 0]), abs(turn[0, 1])
    size = math.ceil(width * across + height * along), math.ceil(width * along + height * across)
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    if array.dtype == np.bool_:  # nothing beyond its edges
        return cv2.warpAffine(array.view(np.uint8), turn, size, flags=cv2.INTER_NEAREST) > 0
    return cv2.warpAffine(array, turn, size, borderMode=cv2.BORDER_REPLICATE)
