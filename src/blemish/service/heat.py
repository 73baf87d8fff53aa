"""Anomaly maps as the store keeps them, and as programs and pages get them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image

from blemish.calibration import Calibration
from blemish.errors import SavedError
from blemish.images import resize
from blemish.report import exports
from blemish.report.overlay import heatmap_layer
from blemish.runs import pictures
from blemish.types import AnomalyMap, Image, Region

KEPT, SHOWN = 256, 512
"""Longest side in pixels of a map in the store, and of a picture of one. A map is smooth: it comes
from a few dozen patches a side."""

LONGEST = 65_500
"""Pixels on a side of a JPEG file; libjpeg refuses more."""


def packed(raw: AnomalyMap) -> bytes:
    """A raw map (H, W) float32 as the store keeps it: shrunk, float16, in NumPy's file format."""
    small = _fitted(raw, KEPT)
    held = io.BytesIO()
    np.save(held, np.clip(small, -65504, 65504).astype(np.float16))
    return held.getvalue()


def unpacked(data: bytes) -> AnomalyMap:
    """The map (h, w) float32 of `packed`. Raises SavedError where it is none."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as cause:
        raise SavedError(f"A kept anomaly map cannot be read ({cause}).") from cause
    return np.asarray(found, np.float32)


def spread(small: AnomalyMap, size: tuple[int, int]) -> AnomalyMap:
    """A kept map at the (height, width) of its picture again."""
    import cv2

    sized = cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(sized, np.float32)


def scores(
    raw: AnomalyMap,
    calibration: Calibration | None,
    evidence: Mapping[str, Any],
    *,
    painted: bool,
) -> AnomalyMap:
    """A raw map as scores in [0, 1], 0.5 at the operating point; painted, where regions begin.

    Without any known operating point the map's own range is stretched over [0, 1].
    """
    made = pictures.painted if painted else pictures.scored
    found = made(raw, calibration or pictures.point_of(evidence))
    if found is not None:
        return found
    low, high = float(raw.min()), float(raw.max())
    return np.asarray((raw - low) / max(high - low, 1e-6), np.float32)


def layer(scored: AnomalyMap) -> bytes:
    """Scores as RGBA PNG to lay over the picture."""
    return _png(PIL.Image.fromarray(heatmap_layer(np.clip(_fitted(scored, SHOWN), 0, 1))))


def grey(scored: AnomalyMap) -> bytes:
    """Scores as 16-bit grey PNG: 65535 is 1."""
    steps = np.rint(np.clip(_fitted(scored, SHOWN), 0, 1) * 65535).astype(np.uint16)
    return _png(PIL.Image.fromarray(steps))


def png(image: Image) -> bytes:
    """A picture (H, W, 3) uint8 as PNG."""
    return _png(PIL.Image.fromarray(image))


def jpeg(image: Image, side: int = 0) -> bytes:
    """A picture (H, W, 3) uint8 as JPEG without metadata.

    Its longest side is at most `side` pixels, unless that is 0, and what JPEG takes.
    """
    height, width = image.shape[:2]
    scale = min(1.0, min(side or LONGEST, LONGEST) / max(height, width))
    if scale < 1:
        image = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    held = io.BytesIO()
    PIL.Image.fromarray(image).save(held, "JPEG", quality=88, subsampling=0)
    return held.getvalue()


def contours(
    regions: Sequence[Region], longest: int
) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
    """Label and corners (x, y) in pixels of each outline; `longest` is the picture's long side."""
    return tuple(
        (region.label, tuple((int(x) + region.box[0], int(y) + region.box[1]) for x, y in corners))
        for region in regions
        for corners in exports.outline(region.mask, max(0.99, longest / 500))
    )


def _fitted(raw: AnomalyMap, side: int) -> AnomalyMap:
    import cv2

    scale = min(1.0, side / max(raw.shape))
    if scale == 1:
        return raw
    height, width = (max(1, round(length * scale)) for length in raw.shape)
    small = cv2.resize(raw, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _png(picture: PIL.Image.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG", compress_level=1)
    return held.getvalue()
