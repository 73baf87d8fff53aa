"""What CutPaste and NSA share: where the part is, where a patch may go, and what it changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from blemish.errors import InputError
from blemish.types import AnomalyMap, Image, Mask, Sample

LEAST = 16  # pixels, the shortest side of a picture that patches are pasted into
_CHANGED = 1  # grey levels: a smaller mean change of a pixel is none, as NSA has it
_SEEN = 0.0005  # of the picture that a patch has to change plainly, the least of `make_part`
_SEEN_OF_PATCH = 0.1  # and of the patch: else nobody would find its other end
_PART_MEDIAN = 7  # pixels, against grain in the mask of a part
_PLACES = 100  # tried for one patch
_MEAN_OF_CHANNELS = np.full((1, 3), 1 / 3, np.float32)


class Parameters(BaseModel):
    """How anomalies are made for one class; `blemish.synthesis.nsa.parameters` has them by name.

    Attributes:
        half_height: least and greatest half height of a patch, as a share of the picture's height.
        half_width: the same of its width.
        gamma: shape, scale and least of the gamma distribution that both half sides are drawn
            from, before they are cut to the two ranges above.
        resize: least and greatest factor that a patch is resized by; it is drawn from a normal
            distribution around 1 with standard deviation 0.5 and cut to this range.
        patches: most patches in a picture: one, and each further one where a coin falls so.
        slope: k of the label 1 / (1 + exp(-k (change - x0))), in 1 / grey levels.
        onset: x0 of it, the change in grey levels that makes a label of 0.5.
        background: brightness of what the part lies on and tolerance, both in grey levels;
            "estimated" looks for it at the picture's edges; None for a part that fills the picture.
        object_share: least share of a patch that shows the part, where there is a background.
        overlap: least share of that which has to come to lie on the part.
        mode: "normal" puts the patch's own gradients in, "mixed" at each pixel the stronger of
            the patch's and the picture's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_height: tuple[float, float] = (0.03, 0.4)
    half_width: tuple[float, float] = (0.03, 0.4)
    gamma: tuple[float, float, float] = (2, 0.05, 0.03)
    resize: tuple[float, float] = (0.7, 1.3)
    patches: int = Field(default=3, ge=1)
    slope: float = Field(default=1 / 3, gt=0)
    onset: float = Field(default=7, ge=0)
    background: tuple[float, float] | Literal["estimated"] | None = "estimated"
    object_share: float = Field(default=0.25, ge=0, lt=1)
    overlap: float = Field(default=0.25, ge=0, lt=1)
    mode: Literal["normal", "mixed"] = "normal"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("half_height", "half_width", "resize"):
            least, most = getattr(self, name)
            if not 0 < least <= most:
                raise ValueError(f"{name} is ({least}, {most}); expected 0 < least <= greatest.")
        return self


@dataclass(frozen=True, eq=False)
class Synthetic:
    """A picture with anomalies put in.

    Attributes:
        image: (H, W, 3) uint8 RGB; equal to the picture it was made from outside `mask`.
        mask: (H, W) bool, True where it changed by more than one grey level in the mean over
            the channels, grains smoothed away by a median over 5 x 5 pixels (CutPaste: 3 x 3).
            What a patch changed in one piece shows somewhere: its label reaches 0.5 there.
        label: (H, W) float32 in [0, 1], how plainly it changed, 0 outside `mask`: the logistic
            function of the mean change over the channels after a median over 11 x 11 pixels
            (CutPaste, whose scars are thin: 3 x 3).
        boxes: (x0, y0, x1, y1) in pixels, x1 and y1 exclusive, where patches were pasted, in
            order; a patch's centre is the box's. Of two that overlap the later one lies on top.
    """

    image: Image
    mask: Mask
    label: AnomalyMap
    boxes: tuple[tuple[int, int, int, int], ...]


class Canvas:
    """A picture while patches are pasted into it; mask and label are true after each."""

    def __init__(self, image: Image, parameters: Parameters) -> None:
        self.original = checked(image, "The picture")
        self.parameters = parameters
        self.part = part_of(self.original, parameters.background)
        self._image = self.original.copy()
        self._mask = np.zeros(image.shape[:2], np.bool_)
        self._label = np.zeros(image.shape[:2], np.float32)
        self.boxes: list[tuple[int, int, int, int]] = []

    def at(self, top: int, left: int, size: tuple[int, int]) -> Image:
        """The picture as it is now in a box of (h, w) pixels, a copy (h, w, 3)."""
        return self._image[top : top + size[0], left : left + size[1]].copy()

    def put(self, top: int, left: int, patch: Image, medians: tuple[int, int]) -> None:
        """Replace the box at (top, left) by `patch` (h, w, 3), unless nobody could see it.

        Args:
            top: first row of the box.
            left: first column of it.
            patch: (h, w, 3) uint8 RGB.
            medians: sides in pixels of the squares that mask and label are smoothed over.
        """
        height, width = patch.shape[:2]
        box = np.s_[top : top + height, left : left + width]
        mask, label = _truth(self.original[box], patch, self.parameters, medians)
        least = max(4, _SEEN * self._mask.size, _SEEN_OF_PATCH * mask.size)
        if np.count_nonzero(label >= 0.5) < least:
            return
        self._image[box] = np.where(mask[..., None], patch, self.original[box])
        self._mask[box], self._label[box] = mask, label
        self.boxes.append((left, top, left + width, top + height))

    def finished(self) -> Synthetic:
        """The result.

        Raises:
            InputError: no patch could be put in.
        """
        if not self.boxes:
            raise InputError(
                "No patch changed the picture visibly: the picture and its sources hold too "
                "little structure, or no place on the part has room. Give other sources of the "
                "same class, or parameters with a lower onset."
            )
        return Synthetic(self._image, self._mask, self._label, tuple(self.boxes))


def checked(image: Image, what: str) -> Image:
    """The picture, read-only, if patches fit into it.

    Raises:
        InputError: it is not (H, W, 3) uint8 or has a side under 16 pixels.
    """
    image = Sample(image).image
    if min(image.shape[:2]) < LEAST:
        height, width = image.shape[:2]
        raise InputError(
            f"{what} is {width} x {height} pixels; patches need {LEAST} on each side. "
            "Take a larger picture."
        )
    return image


def part_of(
    image: Image, background: tuple[float, float] | Literal["estimated"] | None
) -> Mask | None:
    """Where the part is in a picture, (H, W) bool; None where it cannot be told from the rest."""
    if background is None:
        return None
    if background == "estimated":
        return _estimated(image)
    brightness, tolerance = background
    grey = cv2.transform(image, _MEAN_OF_CHANNELS).astype(np.float32)
    return _degrained(np.abs(grey - brightness) > tolerance, _PART_MEDIAN)


def _estimated(image: Image) -> Mask | None:
    """The part on a background of about one colour that the picture's edges show.

    At least four fifths of the edges are taken for background. None where the middle looks
    mostly like them: a surface that fills the picture, or a part that cannot be told from what
    it lies on.
    """
    height, width = image.shape[:2]
    rim = max(2, min(height, width) // 50)
    colour: Any = (*np.median(_edges(image, rim), axis=0), 0)
    away = cv2.transform(cv2.absdiff(image, colour), _MEAN_OF_CHANNELS)
    spread = np.percentile(_edges(away, rim), 80)
    part = _degrained(away > max(12, 3 * spread), _PART_MEDIAN)
    middle = part[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    return part if middle.mean() > 0.4 else None


def _edges(array: NDArray[Any], rim: int) -> NDArray[Any]:
    """The pixels of a picture (H, W, ...) that are at most `rim` from its edges, in a row."""
    sides = array[:rim], array[-rim:], array[rim:-rim, :rim], array[rim:-rim, -rim:]
    return np.concatenate([side.reshape(-1, *array.shape[2:]) for side in sides])


def _degrained(mask: NDArray[np.bool_], size: int) -> Mask:
    """A mask (H, W) without grains: its median over size x size pixels, which is a mean of 0.5."""
    scaled = mask.view(np.uint8) * np.uint8(255)
    smooth: Mask = cv2.blur(scaled, (size, size), borderType=cv2.BORDER_REPLICATE) > 127
    return smooth


def _truth(
    before: Image, after: Image, parameters: Parameters, medians: tuple[int, int]
) -> tuple[Mask, AnomalyMap]:
    """What a patch changed: mask and label, both (h, w), as `Synthetic` describes them."""
    change = cv2.transform(cv2.absdiff(after, before).astype(np.float32), _MEAN_OF_CHANNELS)
    mask = _degrained(change > _CHANGED, medians[0])
    whole = cv2.medianBlur(np.round(change).astype(np.uint8), medians[1]).astype(np.float32)
    label = mask / (1 + np.exp(-parameters.slope * (whole - parameters.onset)))
    _, regions = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    shown = np.zeros(regions.max() + 1, np.bool_)
    shown[regions[label >= 0.5]] = True
    mask = shown[regions]
    return mask, np.where(mask, label, 0).astype(np.float32)


def pick_source(
    part: Mask | None, size: tuple[int, int], within: tuple[int, int], share: float, rng: Any
) -> tuple[int, int] | None:
    """Top and left of a random box of (h, w) pixels that shows enough of the part, or None."""
    tops, lefts = _corners(size, within, rng)
    if part is None:
        return int(tops[0]), int(lefts[0])
    fits = np.flatnonzero(_counts(part, tops, lefts, size) > share * math.prod(size))
    return (int(tops[fits[0]]), int(lefts[fits[0]])) if len(fits) else None


def pick_target(canvas: Canvas, patch: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
    """Top and left of a random box where enough of the patch's part lies on the part, or None.

    Args:
        canvas: what is pasted into.
        patch: (h, w) bool, where the patch shows the part.
        rng: what places are drawn from.
    """
    tops, lefts = _corners(patch.shape, canvas.original.shape[:2], rng)
    if canvas.part is None:
        return int(tops[0]), int(lefts[0])
    height, width = patch.shape
    needed = max(1, canvas.parameters.overlap * np.count_nonzero(patch))
    enough = _counts(canvas.part, tops, lefts, patch.shape) >= needed
    for top, left in zip(tops[enough].tolist(), lefts[enough].tolist(), strict=True):
        below = canvas.part[top : top + height, left : left + width]
        if np.count_nonzero(below & patch) >= needed:
            return top, left
    return None


def _corners(size: Any, within: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    tops = rng.integers(0, within[0] - size[0] + 1, _PLACES)
    return tops, rng.integers(0, within[1] - size[1] + 1, _PLACES)


def _counts(part: Mask, tops: Any, lefts: Any, size: Any) -> NDArray[Any]:
    """How many pixels of the part lie in each box."""
    sums = cv2.integral(part.view(np.uint8))
    bottoms, rights = tops + size[0], lefts + size[1]
    counts: NDArray[Any] = (
        sums[bottoms, rights] - sums[tops, rights] - sums[bottoms, lefts] + sums[tops, lefts]
    )
    return counts
