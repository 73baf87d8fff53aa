"""Windows and patches of a picture, and their likeness to those of normal parts.

WinCLIP (2303.14814), sections 4.2 and 4.3: windows of several scales, each seen by itself, and the
reference association of WinCLIP+. ALFA (2404.09654) uses the same for its memory bank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from blemish.detectors._clip import ClipOptions, Floats, JointEncoder, sound
from blemish.detectors._memory import MemoryBank, normalised
from blemish.detectors._textual import over_windows
from blemish.types import AnomalyMap, Image

PATCHES = 0
"""The memory bank of patch tokens; that of windows has their scale for its key."""
TOGETHER = 4
"""Pictures whose windows' values are held at a time; those of one fill some ten megabytes."""
Scale = Annotated[int, Field(ge=1, le=32)]


class WindowOptions(ClipOptions):
    """Options of detectors with windows.

    Attributes:
        scales: sides of the windows, in patches.
    """

    scales: tuple[Scale, ...] = Field((2, 3), min_length=1)


@dataclass(frozen=True, eq=False)
class View:
    """What is seen of one view; h x h patches, L2-normalised rows.

    Attributes:
        whole: (D,) the picture as a whole, in the joint space.
        patches: (h * h, W) tokens as they leave the last layer: the map before pooling and
            projection, which WinCLIP+ calls penultimate.
        windows: scale to (n, D), each window by itself, row by row.
        values: (1 + h * h, D) the last values, class token first; None where nobody wants them.
        window_values: scale to (n, 1 + k * k, D) those of the windows; likewise.
        rows: scale to (n, 1 + k * k) which of `values` they stand beside.
    """

    whole: Floats
    patches: Floats
    windows: Mapping[int, Floats]
    values: Floats | None
    window_values: Mapping[int, Floats]
    rows: Mapping[int, Any]

    @property
    def side(self) -> int:
        """h, patches along a side."""
        return math.isqrt(len(self.patches))


def seen(
    encoder: JointEncoder, images: Sequence[Image], options: WindowOptions, values: bool = False
) -> list[View]:
    """One `View` an image; the last values of a picture's windows are let go of picture by picture.

    Args:
        encoder: looks.
        images: each (H, W, 3) uint8 RGB.
        options: size and scales.
        values: whether the last values are wanted too, in the joint space.

    Raises:
        InputError: the encoder gave no numbers.
    """
    projection = encoder.value_projection if values else None
    views = []
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER]
        whole = encoder.joint(some, size=options.size)
        parts = {
            k: encoder.windows(some, k, size=options.size, values=values) for k in options.scales
        }
        sound(whole.embeddings, whole.tokens, *(part.embeddings for part in parts.values()))
        views += [
            View(
                whole.embeddings[i],
                normalised(whole.tokens[i]),
                {k: part.embeddings[i] for k, part in parts.items()},
                None if projection is None else whole.values[i] @ projection,
                {k: p.values[i] @ projection for k, p in parts.items() if projection is not None},
                {k: part.rows for k, part in parts.items()},
            )
            for i in range(len(some))
        ]
    return views


def tokens(views: Sequence[View]) -> dict[int, Floats]:
    """What the memory bank keeps of a part: patches, and the windows of each scale."""
    keys = (PATCHES, *views[0].windows)
    return {
        key: np.concatenate([v.windows[key] if key else v.patches for v in views]) for key in keys
    }


def association(
    view: View, banks: Mapping[int, MemoryBank], without: int | None = None
) -> AnomalyMap:
    """M of WinCLIP+: how unlike each patch is to the normal parts.

    The mean over patches and scales of half of 1 - cosine to the nearest; a patch's value at a
    scale is the harmonic mean over the windows that cover it.

    Args:
        view: what is seen.
        banks: one for each of `tokens`.
        without: leave out what the reference of this number gave.

    Returns:
        (h, h) float32 in [0, 1].
    """
    side = view.side
    total = banks[PATCHES].distance(view.patches, without).reshape(side, side) / 2
    for scale, windows in view.windows.items():
        away = banks[scale].distance(windows, without) / 2
        total += over_windows(away.astype(np.float64), side, scale)
    return np.asarray(total / (1 + len(view.windows)), np.float32)
