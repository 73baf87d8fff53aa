"""Divides a picture into numbered regions that a language model can name (GPT-4V-AD, section 3.1).

Every division has the document's working size, 768 x 768: as in its published script the picture is
squashed into the square, its aspect ratio is not kept. The pixels come from this project's own
antialiased bicubic filter; the script's bilinear one drops pixels of larger pictures.

Regions under 600 or over 120,000 pixels are left out. The rest is numbered from 1 in the order in
which their first pixels stand, row by row from the top left, which is also the script's order for
grid and superpixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, MissingExtraError, OptionError
from blemish.images import resize
from blemish.types import AnomalyMap, Image, Mask, Region

SIDE = 768
"""Working size in pixels, of both sides."""
SMALLEST, LARGEST = 600, 120_000
"""Pixels of a region that is kept, both included."""

Labels = NDArray[np.int32]
Method = Literal["grid", "superpixel", "sam", "regions"]


@dataclass(frozen=True, eq=False)
class Division:
    """Which region each pixel belongs to.

    Attributes:
        labels: (768, 768) int32, numbers from 1; 0 belongs to no region.
        method: how the regions were found.
    """

    labels: Labels
    method: Method

    def __post_init__(self) -> None:
        labels = self.labels
        if labels.shape != (SIDE, SIDE) or labels.dtype != np.int32 or labels.min() < 0:
            raise InputError(
                f"Labels of shape {labels.shape} and dtype {labels.dtype} came; expected "
                f"{(SIDE, SIDE)} int32, 0 or more."
            )

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """(N + 1,) int64, pixels of each number; at 0 those that belong to no region."""
        return np.bincount(self.labels.ravel())

    @property
    def count(self) -> int:
        """The highest number."""
        return len(self.areas) - 1

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that some pixel has."""
        return tuple(int(number) for number in np.flatnonzero(self.areas[1:]) + 1)

    def at(self, height: int, width: int) -> Labels:
        """The labels in a picture of another size: (height, width) int32, nearest neighbour."""
        found: Labels = self.labels[np.ix_(_nearest(height, SIDE), _nearest(width, SIDE))]
        return found


class Segmenter(Protocol):
    """Finds whatever can be told apart in a picture; `blemish.regions.sam.Sam` is one."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same picture would get other masks."""
        ...

    def masks(self, image: Image) -> NDArray[np.bool_]:
        """(M, H, W) bool masks of an (H, W, 3) uint8 RGB image; they may overlap."""
        ...


def working(image: Image) -> Image:
    """The picture at the working size: (768, 768, 3) uint8 RGB, squashed into the square."""
    return resize(image, SIDE, SIDE)


def grid(image: Image, cell: int = 48) -> Division:
    """Square cells; the picture does not matter.

    Args:
        image: (H, W, 3) uint8 RGB.
        cell: side in pixels of the working size, from 25 to 346, so that a cell is of a size that
            is kept. Where it does not divide 768, the last row and column are smaller.
    """
    if not 25 <= cell <= 346:
        raise OptionError(f"Cell {cell} came; expected 25 to 346 pixels. The document has 48.")
    return Division(_cells(cell), "grid")


def superpixel(image: Image, segments: int = 60, compactness: float = 20.0) -> Division:
    """Superpixels (SLIC), which follow edges; the document's recommendation.

    Args:
        image: (H, W, 3) uint8 RGB.
        segments: about how many, at least 5.
        compactness: higher is squarer, above 0.
    """
    if segments < 5 or compactness <= 0:
        raise OptionError(
            f"Segments {segments} and compactness {compactness} came; expected 5 or more and a "
            "number above 0. The document has 60 and 20."
        )
    slic = _scikit_image("segmentation").slic
    found = slic(working(image), n_segments=segments, compactness=compactness, start_label=1)
    return Division(_kept(found), "superpixel")


def sam(image: Image, segmenter: Segmenter) -> Division:
    """Masks of Segment Anything.

    Masks outside of the limits go first, as in the published script. Of those that overlap, the
    smaller lies on top. A mask of which others leave several pieces becomes several regions, each
    of which must be large enough; what no mask covers is left out.

    Args:
        image: (H, W, 3) uint8 RGB.
        segmenter: gives the masks.
    """
    masks = segmenter.masks(working(image))
    areas = masks.sum(axis=(1, 2))
    painted = np.zeros((SIDE, SIDE), np.int32)
    for place in np.argsort(-areas, kind="stable"):
        if SMALLEST <= areas[place] <= LARGEST:
            painted[masks[place]] = place + 1
    return Division(_kept(painted), "sam")


def from_regions(regions: Sequence[Region], height: int, width: int) -> Division:
    """A detector's own regions, to ask about these only. No size is left out.

    Number i is `regions[i - 1]`. Of regions that overlap, the smaller lies on top; one that is
    hidden altogether has no pixel, and its number is never shown.

    Args:
        regions: of one view, in its pixels.
        height: of the view, in pixels.
        width: of the view, in pixels.
    """
    labels = np.zeros((SIDE, SIDE), np.int32)
    rows, columns = _nearest(SIDE, height), _nearest(SIDE, width)
    down, across = _nearest(height, SIDE), _nearest(width, SIDE)
    for place in sorted(range(len(regions)), key=lambda i: (-regions[i].area, i)):
        x0, y0, x1, y1 = regions[place].box
        if x1 > width or y1 > height:
            raise InputError(
                f"Region {place + 1} with box {regions[place].box} does not fit into a view "
                f"{width} x {height} pixels. Give the size of the view that it was found in."
            )
        whole = np.zeros((height, width), np.bool_)
        whole[y0:y1, x0:x1] = regions[place].mask
        labels[whole[np.ix_(rows, columns)]] = place + 1
        ys, xs = np.nonzero(whole)
        labels[down[ys], across[xs]] = place + 1  # a thin scratch stays whole where it shrinks
    return Division(labels, "regions")


def fill(division: Division, scores: Mapping[int, float], height: int, width: int) -> AnomalyMap:
    """Text2Segmentation (section 3.3): regions take their scores, everything else 0.

    Args:
        division: the regions that were asked about.
        scores: region number to score, any finite number.
        height: of the picture that was divided, in pixels.
        width: of that picture, in pixels.

    Returns:
        (height, width) float32, nearest neighbour: every pixel has a score that was given, or 0.

    Raises:
        InputError: a number that the division does not have, or a score that is not finite.
    """
    values = np.zeros(division.count + 1, np.float32)
    for number, score in scores.items():
        if not 1 <= number <= division.count or not np.isfinite(score):
            raise InputError(
                f"Score {score} for region {number} came; expected a finite score and a region "
                f"from 1 to {division.count}."
            )
        values[number] = score
    filled: AnomalyMap = values[division.at(height, width)]
    return filled


def outline(labels: Labels) -> Mask:
    """The line between regions: one pixel wide, on the larger of the two regions that meet.

    What is left out counts as larger than any region, so that a small region keeps all of its
    pixels. The picture's own edge is no line.

    Returns:
        (H, W) bool, True for a pixel with one of a smaller region above, below or beside it. Of
        two equally large regions the one with the lower number counts as smaller.
    """
    import cv2

    areas = np.bincount(labels.ravel())
    areas[0] = labels.size + 1
    ranks = np.empty(len(areas), np.float32)  # exact up to 16 million regions
    ranks[np.argsort(areas, kind="stable")] = np.arange(len(areas))
    rank = ranks[labels]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.erode(rank, cross) < rank)


def _scikit_image(part: str) -> Any:
    try:
        return import_module(f"skimage.{part}")
    except ImportError as cause:
        raise MissingExtraError(
            "Regions of a picture need scikit-image, which is not installed. Install it: "
            'pip install "blemish[llm]"'
        ) from cause


def _kept(labels: NDArray[np.integer]) -> Labels:
    """Connected pieces of a size within the limits, in order of their first pixels."""
    pieces: NDArray[np.integer] = _scikit_image("measure").label(labels, connectivity=1)
    # Its numbers come in that order.
    areas = np.bincount(pieces.ravel())
    keep = (areas >= SMALLEST) & (areas <= LARGEST)
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    kept: Labels = numbers[pieces]
    return kept


@lru_cache(maxsize=4)
def _cells(cell: int) -> Labels:
    place = np.arange(SIDE) // cell
    labels = _kept(place[:, None] * SIDE + place + 1)
    labels.flags.writeable = False
    return labels


def _nearest(size: int, source: int) -> NDArray[np.int64]:
    """(size,) int64: for each row of a resized picture the source row that its centre lies in."""
    return (2 * np.arange(size) + 1) * source // (2 * size)
