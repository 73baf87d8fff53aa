"""Natural synthetic anomalies (NSA, arXiv 2109.15222): patches blended in by Poisson editing.

>>> from blemish.synthesis.procedural import make_part
>>> good, other = (make_part("wood", seed).sample.image for seed in (1, 2))
>>> made = nsa(good, [other], np.random.default_rng(0), parameters("procedural", "wood"))
>>> made.image.shape, bool(made.mask.any())
((256, 256, 3), True)

A patch of a good picture of the class is resized and cloned into another place of the picture
with seamless edges (Pérez et al. 2003, through OpenCV). Sizes follow a gamma distribution, an
object's background is left alone, and the label grows with what changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

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

__all__ = ["Parameters", "Synthetic", "nsa", "parameters"]

_TRIES = 40  # patches tried for one picture
_TRIES_A_SOURCE = 10  # before another source is drawn, as for one that holds nothing
_LEAST_SIDE = 15  # pixels of a patch: cloning leaves two at each edge, the label's median needs 11
_MEDIANS = (5, 11)  # pixels, against grain in the mask and in the label
_MODES = {"normal": cv2.NORMAL_CLONE, "mixed": cv2.MIXED_CLONE}


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    return dict(json.loads(files("blemish.synthesis").joinpath("nsa.json").read_text("utf-8")))


def parameters(dataset: str = "", category: str = "") -> Parameters:
    """How anomalies are made for a class; for one that is not in nsa.json, the defaults.

    Args:
        dataset: as in `blemish.classes.noun`, or "procedural".
        category: the class's folder name, or the kind of made-up part.

    >>> parameters("mvtec-ad", "screw").half_height
    (0.03, 0.12)
    >>> parameters("", "left_hinge") == Parameters()
    True
    """
    return Parameters(**_table().get(dataset, {}).get(category, {}))


def nsa(
    image: Image, sources: Sequence[Image], rng: np.random.Generator, parameters: Parameters
) -> Synthetic:
    """Put one or more seamless patches into a picture.

    The centre of a patch comes to the middle of its target box, and the outermost pixels of its
    mask are zero, so that its edges are the picture's own.

    Args:
        image: (H, W, 3) uint8 RGB, a good part; 16 pixels or more on each side. Time grows with
            its area: make anomalies at the size that the model sees.
        sources: good pictures of the same class, each (h, w, 3) uint8 RGB, one of which
            is drawn for patches to be taken from; none for the picture itself.
        rng: the same state gives the same bytes.
        parameters: sizes, background and labels of the class.

    Raises:
        InputError: a picture that is too small or of another form, or no patch that changes it
            visibly, as where everything is of one colour.
    """
    canvas = Canvas(image, parameters)
    pictures = [checked(s, f"Source {i + 1}") for i, s in enumerate(sources)] or [canvas.original]
    wanted = 1 + rng.binomial(parameters.patches - 1, 0.5)
    for attempt in range(_TRIES):
        if attempt % _TRIES_A_SOURCE == 0:
            source = pictures[rng.integers(len(pictures))]
            part = part_of(source, parameters.background)
        _paste(canvas, source, part, rng)
        if len(canvas.boxes) == wanted:
            break
    return canvas.finished()


def _paste(canvas: Canvas, source: Image, part: Mask | None, rng: np.random.Generator) -> None:
    """Try one patch of random size from a random place at another random place."""
    p, within = canvas.parameters, source.shape[:2]
    shares = _shares(p, rng)
    size = _pixels(shares, within)
    found = pick_source(part, size, within, p.object_share, rng)
    if found is None:
        return
    box = np.s_[found[0] : found[0] + size[0], found[1] : found[1] + size[1]]
    height, width = _pixels(_resized(shares, p, rng), canvas.original.shape)
    patch: Any = cv2.resize(source[box], (width, height))
    shows = np.ones(size, np.bool_) if part is None else part[box]
    shows = cv2.resize(shows.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    where = pick_target(canvas, shows, rng)
    if where is None:
        return
    before = canvas.at(*where, (height, width))
    after = _cloned(patch, before, p.mode)
    if canvas.part is not None:  # background that would replace background stays as it was
        part_here = canvas.part[where[0] : where[0] + height, where[1] : where[1] + width]
        after = np.where((shows | part_here)[..., None], after, before)
    canvas.put(*where, after, _MEDIANS)


def _shares(p: Parameters, rng: np.random.Generator) -> tuple[float, float]:
    """Half height and half width of a patch as shares of the picture's."""
    shape, scale, least = p.gamma
    half = least + rng.gamma(shape, scale, 2)
    return float(np.clip(half[0], *p.half_height)), float(np.clip(half[1], *p.half_width))


def _resized(
    shares: tuple[float, float], p: Parameters, rng: np.random.Generator
) -> tuple[float, float]:
    """Half sides after resizing; they keep their ratio as far as the bounds of both allow."""
    factor = float(np.clip(rng.normal(1, 0.5), *p.resize))
    bounds = p.half_height, p.half_width
    low = max(least / side for side, (least, _) in zip(shares, bounds, strict=True))
    high = min(most / side for side, (_, most) in zip(shares, bounds, strict=True))
    factor = min(max(factor, low), high)
    return shares[0] * factor, shares[1] * factor


def _pixels(shares: tuple[float, float], within: Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels of a patch with these half sides in a picture of this shape."""
    height, width = (
        min(max(round(2 * share * side), _LEAST_SIDE), side)
        for share, side in zip(shares, within, strict=False)
    )
    return height, width


def _cloned(patch: Image, before: Image, mode: str) -> Image:
    """`patch` with `before` at its edges and the patch's gradients within, both (h, w, 3)."""
    height, width = patch.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[1:-1, 1:-1] = 255
    middle = (width // 2, height // 2)
    cloned: Any = cv2.seamlessClone(patch, before, mask, middle, _MODES[mode])
    return np.asarray(cloned, np.uint8)
