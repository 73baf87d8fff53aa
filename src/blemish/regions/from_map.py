"""Regions out of an anomaly map: the connected places above the operating point.

A defect may raise the scores of the whole picture, since an encoder's patch tokens know of each
other. Places are then those that stand out of it, or all of the picture would be one region.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blemish.calibration import OperatingPoint
from blemish.places import position
from blemish.types import AnomalyMap, Region

SMALLEST = 1e-4
"""Regions under this share of the view are left out, unless nothing else is left."""
ABOVE_MIDDLE, MOST = 2.0, 0.3
"""A place scores at least so many times the map's median, where that asks for no more than this
part of the way from the operating point to the map's maximum. Chosen on made-up parts."""


def begin(raw: AnomalyMap, threshold: float) -> float:
    """The raw score at which the regions of a map begin: the operating point, or above it.

    Args:
        raw: (H, W) float32 raw map.
        threshold: the operating point.
    """
    highest = float(raw.max())
    if highest <= threshold:
        return threshold
    standing = min(ABOVE_MIDDLE * float(np.median(raw)), threshold + MOST * (highest - threshold))
    return max(threshold, standing)


def regions_from_map(maps: Sequence[AnomalyMap], point: OperatingPoint) -> tuple[Region, ...]:
    """The connected components (8-connected) of raw maps at or above where they `begin`.

    Args:
        maps: one (H, W) float32 raw map per view.
        point: the operating point, and the scores of regions.

    Returns:
        Regions with the highest score of their pixels, most anomalous first, numbered from 1.
    """
    import cv2

    found: list[Region] = []
    for view, raw in enumerate(maps):
        above = (raw >= begin(raw, point.threshold)).astype(np.uint8)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(above, connectivity=8)
        areas = stats[1:count, cv2.CC_STAT_AREA]
        floor = min(SMALLEST * raw.size, areas.max(initial=0))
        for number in np.flatnonzero(areas >= floor) + 1:
            x, y, w, h = (int(v) for v in stats[number, :4])
            mask = labels[y : y + h, x : x + w] == number
            # Without a copy of what the mask covers, which may be all of a large picture.
            highest = np.max(raw[y : y + h, x : x + w], where=mask, initial=-np.inf)
            peak = point.score(float(highest))
            across, down = centres[number] + 0.5  # of pixel centres
            place = position(float(down), float(across), *raw.shape)
            found.append(Region(1, (x, y, x + w, y + h), mask, peak, place, view))
    found.sort(key=lambda r: (-r.score, -r.area, r.view, r.box))
    return tuple(
        Region(i, r.box, r.mask, r.score, r.position, r.view) for i, r in enumerate(found, 1)
    )
