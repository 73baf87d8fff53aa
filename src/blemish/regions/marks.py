"""Set-of-mark drawing (GPT-4V-AD, section 3.1): white outlines and numbers on the picture.

No region is filled. The outline is one pixel wide; a number is white with a dark rim, so that it
is legible on light and dark parts. With the document's settings a number's box takes at most a
sixth of its region, and all marks together hide about 13 % of the picture in a grid and 6 % with
superpixels (`benchmarks/regions.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from blemish.regions.division import SIDE, Division, outline, working
from blemish.types import Image, Mask

RIM = 2
"""Pixels of dark around a digit's strokes."""
FONT = (10, 20)
"""Smallest and largest size of the numbers, in pixels."""
BESIDE = 12
"""Size of a number that stands beside its region."""
MOST = 1 / 6
"""Share of a region that the box of its number may take; with a larger one the region is small."""
_WHITE, _DARK = (255, 255, 255), (16, 16, 16)
_REACH = 96  # pixels around a small region in which a place for its number is looked for
_GAP = 6  # pixels between a small region and its number, so that the leader can be seen
_TRIES = 60

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """Where a region's number stands.

    Attributes:
        number: of the region.
        box: (x0, y0, x1, y1) pixels that the number takes with its rim, x1 and y1 exclusive.
        size: of the font, in pixels.
        tip: (x, y), the pixel beside its region at which the leader line ends; None where the
            number stands inside its region.
    """

    number: int
    box: Box
    size: int
    tip: tuple[int, int] | None = None


def draw(image: Image, division: Division, avoid_small: bool = False) -> Image:
    """The picture with outlines and numbers.

    Args:
        image: (H, W, 3) uint8 RGB, brought to the working size.
        division: the regions.
        avoid_small: keep marks off regions that their number would hide too much of: it stands
            beside them, with a leader line.

    Returns:
        (768, 768, 3) uint8 RGB, a new array. With `avoid_small`, small regions whose numbers found
        a place outside are as in the picture, but for the line between two of them that touch.
    """
    import cv2

    canvas, lines = working(image), outline(division.labels)
    canvas[lines] = _WHITE
    placed = marks(division, avoid_small)
    drawn = canvas.copy()
    for mark in placed:
        if mark.tip:
            end = _end(mark.box, *mark.tip)
            cv2.line(drawn, mark.tip, end, _DARK, 3)
            cv2.line(drawn, mark.tip, end, _WHITE, 1)
    drawn[lines] = _WHITE  # whole again where a leader's dark sides cut them
    for mark in placed:
        x0, y0, x1, y1 = mark.box
        under, ink, rim = drawn[y0:y1, x0:x1], *_stamp(str(mark.number), mark.size)
        for paint, alpha in ((_DARK, rim), (_WHITE, ink)):
            under[:] = np.rint(under + alpha * (np.array(paint) - under))
    kept = np.isin(division.labels, [mark.number for mark in placed if mark.tip])
    drawn[kept] = canvas[kept]
    return drawn


def marks(division: Division, avoid_small: bool = False) -> tuple[Mark, ...]:
    """Where the numbers stand, in order of the numbers.

    A number takes the place nearest to its region's centre of mass at which it fits into the
    region, clear of the outlines; the size follows the region's and shrinks until it fits. Where
    the smallest does not fit, the number lies over the region's deepest point.

    Args:
        division: the regions; a number without pixels gets no mark.
        avoid_small: as in `draw`. A region that finds no place nearby keeps its number inside.
    """
    from scipy.ndimage import find_objects

    clear = ~outline(division.labels)
    places = find_objects(division.labels)
    inside: dict[int, Mark] = {}
    small: list[int] = []
    for number, place in enumerate(places, start=1):
        if place is None:
            continue
        mask = division.labels[place] == number
        found = _fitting(mask & clear[place], number, int(mask.sum()), place)
        if found and math.prod(_extent(number, found.size)) <= MOST * mask.sum():
            inside[number] = found
        else:
            small.append(number)
            inside[number] = found or _deepest(mask, number, place)
    if avoid_small and small:
        taken = np.isin(division.labels, small)
        for number in inside.keys() - set(small):
            x0, y0, x1, y1 = inside[number].box
            taken[y0:y1, x0:x1] = True
        for number in small:
            mark = _beside(division.labels, number, places[number - 1], taken)
            inside[number] = mark or inside[number]
    return tuple(inside[number] for number in sorted(inside))


def _fitting(free: Mask, number: int, area: int, place: tuple[slice, slice]) -> Mark | None:
    """The number at the largest size that fits into the free pixels, nearest to their centre."""
    import cv2

    largest = int(np.clip(round(area**0.5 / 5), *FONT))
    for size in range(largest, FONT[0] - 1, -2):
        height, width = _extent(number, size)
        fits = cv2.erode(free.astype(np.uint8), np.ones((height, width)), borderValue=0)
        ys, xs = np.nonzero(fits)
        if ys.size:
            y, x = np.argwhere(free).mean(0)
            near = np.argmin((ys - y) ** 2 + (xs - x) ** 2)
            top, left = ys[near] - height // 2 + place[0].start, xs[near] - width // 2
            return Mark(number, _box(top, left + place[1].start, height, width), size)
    return None


def _deepest(mask: Mask, number: int, place: tuple[slice, slice]) -> Mark:
    """The smallest number over the region's point that is farthest from its edge."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    middle = np.argwhere(mask).mean(0)
    y, x = deepest[np.argmin(((deepest - middle) ** 2).sum(1))]
    height, width = _extent(number, FONT[0])
    top = int(np.clip(y + place[0].start - height // 2, 0, SIDE - height))
    left = int(np.clip(x + place[1].start - width // 2, 0, SIDE - width))
    return Mark(number, _box(top, left, height, width), FONT[0])


def _beside(
    labels: NDArray[np.int32], number: int, place: tuple[slice, slice], taken: Mask
) -> Mark | None:
    """A place near a small region for its number; what the mark covers is entered into `taken`."""
    import cv2

    rows, columns = (slice(max(0, part.start - _REACH), part.stop + _REACH) for part in place)
    own = labels[rows, columns] == number
    blocked = taken[rows, columns] & ~own
    away = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 5)
    edge = np.argwhere((away == 1) & ~blocked)
    height, width = _extent(number, BESIDE)
    free = (~blocked & (away > _GAP)).astype(np.uint8)
    fits = cv2.erode(free, np.ones((height, width)), borderValue=0)
    ys, xs = np.nonzero(fits)
    if not edge.size:
        return None
    # Neighbouring places meet the same obstacles, so only every tenth is tried.
    for i in np.argsort(away[ys, xs], kind="stable")[: 10 * _TRIES : 10]:
        y, x = edge[np.argmin(((edge - (ys[i], xs[i])) ** 2).sum(1))].tolist()
        box = _box(ys[i] - height // 2, xs[i] - width // 2, height, width)
        covered = np.zeros(own.shape, np.uint8)
        cv2.line(covered, (x, y), _end(box, x, y), 1, 3)
        if not (covered.astype(bool) & blocked).any():
            covered[box[1] : box[3], box[0] : box[2]] = 1
            taken[rows, columns] |= covered > 0
            down, across = rows.start, columns.start
            box = _box(box[1] + down, box[0] + across, height, width)
            return Mark(number, box, BESIDE, (x + across, y + down))
    return None


def _end(box: Box, x: int, y: int) -> tuple[int, int]:
    """The pixel of a box that is nearest to a point: (x, y)."""
    return min(max(x, box[0]), box[2] - 1), min(max(y, box[1]), box[3] - 1)


def _box(top: int, left: int, height: int, width: int) -> Box:
    return int(left), int(top), int(left) + width, int(top) + height


@lru_cache(maxsize=4096)
def _stamp(text: str, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Opacity of a text's strokes and of the strokes with their rim, (h, w, 1) each, in [0, 1]."""
    font: Any = ImageFont.load_default(size)  # with FreeType, as in every wheel of Pillow
    x0, y0, x1, y1 = font.getbbox(text, anchor="ls", stroke_width=RIM)
    left, top = math.floor(x0), math.floor(y0)
    layers = []
    for rim in (0, RIM):
        picture = Pillow.new("L", (math.ceil(x1) - left, math.ceil(y1) - top))
        pen = ImageDraw.Draw(picture)
        pen.text((-left, -top), text, 255, font, anchor="ls", stroke_width=rim)
        layers.append(np.asarray(picture, np.float32)[..., None] / np.float32(255))
    return layers[0], layers[1]


def _extent(number: int, size: int) -> tuple[int, int]:
    """Height and width of a number and its rim, in pixels."""
    height, width, _ = _stamp(str(number), size)[0].shape
    return height, width
