"""Pictures as CLIP takes them: resized to bytes, which can be compared with the publisher's.

A CLIP checkpoint crops what lies beyond the central square. A defect may lie there, so that
inspection resizes the whole picture to a square instead; for a square picture the two are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish.errors import WeightsError
from blemish.images import resize
from blemish.types import Image

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = (3, "bicubic")  # Pillow's number and open_clip's word


@dataclass(frozen=True)
class Preparation:
    """How a checkpoint's publisher prepares pictures.

    Attributes:
        size: side of the square in pixels.
        squash: the whole picture is resized to the square, as for inspection, and nothing cropped.
        half: how a crop that cannot be central lies: "down" as transformers rounds, "even" as
            torchvision, and so open_clip, does.
        mean: of red, green and blue on a scale from 0 to 1.
        std: likewise.
    """

    size: int
    squash: bool = False
    half: str = "even"
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    def own(self, image: Image) -> Image:
        """The publisher's preparation: (size, size, 3) uint8 RGB."""
        if self.squash:
            return resize(image, self.size, self.size)
        height, width = image.shape[:2]
        short = min(height, width)
        sized = resize(image, *(int(self.size * side / short) for side in (height, width)))
        top, left = (self._start(side - self.size) for side in sized.shape[:2])
        return sized[top : top + self.size, left : left + self.size]

    def _start(self, spare: int) -> int:
        return spare // 2 if self.half == "down" else round(spare / 2)


def from_transformers(found: Mapping[str, Any], size: int) -> Preparation:
    """Read `preprocessor_config.json`; an empty one means CLIP's own.

    Args:
        found: its content.
        size: the model's own side in pixels.

    Raises:
        WeightsError: a preparation that CLIP checkpoints do not have.
    """
    # Newer processors nest what older ones have at the top.
    found = found.get("image_processor", found)
    asked = found.get("size", {})
    squash = isinstance(asked, Mapping) and "height" in asked
    _check(found.get("resample", 3), found.get("do_resize", True), found.get("do_normalize", True))
    if not squash and not found.get("do_center_crop", True):
        raise WeightsError("its preprocessor_config.json keeps pictures of any shape uncropped.")
    mean, std = found.get("image_mean", _MEAN), found.get("image_std", _STD)
    return Preparation(size, squash, "down", tuple(mean), tuple(std))


def from_open_clip(found: Mapping[str, Any], size: int) -> Preparation:
    """Read the `preprocess_cfg` of `open_clip_config.json`; an empty one means CLIP's own.

    Args:
        found: its content.
        size: the model's own side in pixels.

    Raises:
        WeightsError: a preparation that CLIP checkpoints do not have.
    """
    mode = found.get("resize_mode", "shortest")
    _check(found.get("interpolation", "bicubic"), mode in ("shortest", "squash"), True)
    mean, std = found.get("mean", _MEAN), found.get("std", _STD)
    return Preparation(size, mode == "squash", "even", tuple(mean), tuple(std))


def _check(resample: int | str, resized: bool, normalised: bool) -> None:
    if resample not in _BICUBIC or not resized or not normalised:
        raise WeightsError(
            "its preparation of pictures is not CLIP's: expected bicubic resizing and a mean and "
            "deviation for each colour."
        )
