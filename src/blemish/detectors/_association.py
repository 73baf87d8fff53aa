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

from blemish.detectors._clip import ClipOptions, Floats, JointEncoder, Normals, sound
from blemish.detectors._memory import normalised
from blemish.detectors._textual import over_windows
from blemish.types import AnomalyMap, Image

PATCHES = 0
"""The memory bank of patch tokens; that of windows has their scale for its key."""
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
    """One `View` an image.

    Args:
        encoder: looks.
        images: each (H, W, 3) uint8 RGB.
        options: size and scales.
        values: whether the last values are wanted too.

    Raises:
        InputError: the encoder gave no numbers.
    """
    whole = encoder.joint(images, size=options.size)
    sound(whole.embeddings)
    parts = {k: encoder.windows(images, k, size=options.size) for k in options.scales}
    projection = encoder.value_projection if values else None
    return [
        View(
            whole.embeddings[i],
            normalised(whole.tokens[i]),
            {k: sound(some.embeddings[i]) for k, some in parts.items()},
            None if projection is None else whole.values[i] @ projection,
            {k: v.values[i] @ projection for k, v in parts.items() if projection is not None},
            {k: some.rows for k, some in parts.items()},
        )
        for i in range(len(images))
    ]


def tokens(views: Sequence[View]) -> dict[int, Floats]:
    """What the memory bank keeps of a part: patches, and the windows of each scale."""
    keys = (PATCHES, *views[0].windows)
    return {
        key: np.concatenate([v.windows[key] if key else v.patches for v in views]) for key in keys
    }


def association(
    view: View, memory: Normals | None, without: int | None = None
) -> AnomalyMap | None:
    """M of WinCLIP+: how unlike each patch is to the normal parts.

    The mean over patches and scales of half of 1 - cosine to the nearest; a patch's value at a
    scale is the harmonic mean over the windows that cover it.

    Args:
        view: what is seen.
        memory: with a bank for each of `tokens`.
        without: leave out what the reference of this number gave.

    Returns:
        (h, h) float32 in [0, 1]; None where no normal part is known.
    """
    if memory is None:
        return None
    side, banks = view.side, memory.banks
    total = banks[PATCHES].distance(view.patches, without).reshape(side, side) / 2
    for scale, windows in view.windows.items():
        away = banks[scale].distance(windows, without) / 2
        total += over_windows(away.astype(np.float64), side, scale)
    return np.asarray(total / (1 + len(view.windows)), np.float32)
