"""How well maps cover each defect, large or small: AU-PRO and, for MVTec LOCO, sPRO.

Both follow MVTec's official evaluation: the mean over regions of the share of a region that is
called anomalous, against the false positive rate over all normal pixels of the test set, good
images included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, UndefinedMetricError
from blemish.metrics import _checks
from blemish.metrics._curve import Curve
from blemish.types import AnomalyMap, Mask

LOCO_LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
"""The limits MVTec LOCO is reported at; 0.05 is its headline."""

Regions = Sequence[tuple[Mask, int]]
"""The defects of one image, each a (H, W) bool mask and its saturation area in pixels."""


def au_pro(maps: Sequence[AnomalyMap], masks: Sequence[Mask], limit: float = 0.3) -> float:
    """Area under the per-region overlap (Bergmann et al., IJCV 2021).

    Args:
        maps: one (H, W) float map per test image of one category, higher is more anomalous.
        masks: one (H, W) bool mask per map, True where anomalous; all False for a good image. A
            region is an 8-connected component.
        limit: false positive rate up to which the curve is integrated, above 0, at most 1.

    Returns:
        In [0, 1]: the area divided by the limit.

    Raises:
        UndefinedMetricError: there is no region, or no normal pixel.
        InputError: a map is NaN or infinite somewhere, or shapes do not fit.
    """
    _checks.fpr_limit(limit)
    _same_length(maps, masks=masks)
    found = _Collected()
    for number, (raw, truth) in enumerate(zip(maps, masks, strict=True)):
        values = _checks.map_of(raw, f"maps[{number}]")
        mask = _checks.mask_of(truth, values.shape, f"masks[{number}]")
        pixels, regions = region_pixels(mask)
        areas = np.bincount(regions)
        found.add(values.ravel()[pixels], (1.0 / areas)[regions], areas.size)
        found.normal.append(values[~mask])
    return found.areas((limit,))[limit]


def spro(
    maps: Sequence[AnomalyMap],
    regions: Sequence[Regions],
    limits: Sequence[float] = LOCO_LIMITS,
) -> dict[float, float]:
    """Area under the saturated per-region overlap (Bergmann et al., IJCV 2022).

    A defect counts as `min(pixels found / saturation area, 1)`; a false positive is a pixel
    outside the union of its image's defects.

    Args:
        maps: one (H, W) float map per test image at native size, higher is more anomalous.
        regions: per map its defects as (mask, saturation area) pairs, none for a good image.
        limits: false positive rates up to which the curve is integrated.

    Returns:
        Limit to area in [0, 1], divided by the limit.

    Raises:
        UndefinedMetricError: there is no region, or no normal pixel.
        InputError: a map is NaN or infinite somewhere, a saturation area is not between 1 and the
            defect's area, or shapes do not fit.
    """
    for limit in limits:
        _checks.fpr_limit(limit)
    _same_length(maps, regions=regions)
    found = _Collected()
    for number, (raw, defects) in enumerate(zip(maps, regions, strict=True)):
        values = _checks.map_of(raw, f"maps[{number}]")
        normal = np.ones(values.shape, np.bool_)
        for index, (truth, saturation) in enumerate(defects):
            name = f"regions[{number}][{index}]"
            mask = _checks.mask_of(truth, values.shape, name)
            inside = np.sort(values[mask])
            if not 1 <= saturation <= inside.size:
                raise InputError(
                    f"{name} has saturation area {saturation}; expected 1 to {inside.size}, the "
                    "pixels of its mask. `saturation_area` computes it."
                )
            # Once the highest `saturation` pixels are found the defect is, so only they count.
            found.add(inside[-saturation:], np.full(saturation, 1.0 / saturation), 1)
            normal &= ~mask
        found.normal.append(values[normal])
    return found.areas(limits)


@dataclass(frozen=True)
class LocoFigures:
    """sPRO of MVTec LOCO, each limit to its area.

    Attributes:
        logical: over logical anomalies and good images.
        structural: over structural anomalies and good images.
        mean: of both, the figure the data set is reported with.
    """

    logical: dict[float, float]
    structural: dict[float, float]
    mean: dict[float, float]


def loco_spro(
    maps: Sequence[AnomalyMap],
    regions: Sequence[Regions],
    kinds: Sequence[str],
    limits: Sequence[float] = LOCO_LIMITS,
) -> LocoFigures:
    """The sPRO that MVTec LOCO reports: each kind of anomaly with the good images, then the mean.

    Args:
        maps: as for `spro`.
        regions: as for `spro`.
        kinds: per map "good", "logical_anomalies" or "structural_anomalies", LOCO's folder names.
        limits: as for `spro`.

    Raises:
        UndefinedMetricError: one of both kinds has no region, or there is no normal pixel.
        InputError: as `spro`, or a kind is unknown.
    """
    _same_length(maps, regions=regions, kinds=kinds)
    for number, kind in enumerate(kinds):
        if kind not in ("good", "logical_anomalies", "structural_anomalies"):
            raise InputError(
                f"kinds[{number}] is {kind!r}; expected 'good', 'logical_anomalies' or "
                "'structural_anomalies'."
            )

    def figure(kind: str) -> dict[float, float]:
        chosen = [i for i, k in enumerate(kinds) if k in ("good", kind)]
        return spro([maps[i] for i in chosen], [regions[i] for i in chosen], limits)

    logical, structural = figure("logical_anomalies"), figure("structural_anomalies")
    mean = {limit: (logical[limit] + structural[limit]) / 2.0 for limit in logical}
    return LocoFigures(logical, structural, mean)


def saturation_area(area: int, threshold: float, relative: bool) -> int:
    """At how many found pixels a defect of MVTec LOCO counts as found.

    Args:
        area: pixels of the defect.
        threshold: a share of the area where `relative`, else pixels.
        relative: which of both.

    Returns:
        Pixels, at most the area, and at least 1: a small share of a small defect would be
        rounded down to 0, of which no share can be found.

    >>> saturation_area(999, 0.5, True), saturation_area(999, 2000, False)
    (499, 999)
    """
    return max(1, int(threshold * area) if relative else int(min(threshold, area)))


def region_pixels(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The anomalous pixels of a mask and the 8-connected region that each lies in.

    Args:
        mask: (H, W) bool, True where anomalous.

    Returns:
        (P,) index into the flattened mask, rising, and (P,) number of the region from 0.
    """
    pixels = np.flatnonzero(mask)
    if not pixels.size:
        return pixels, pixels.astype(np.int32)
    import cv2

    rows, columns = np.divmod(pixels, mask.shape[1])
    top, bottom = rows[0], rows[-1] + 1
    left, right = columns.min(), columns.max() + 1
    box = np.ascontiguousarray(mask[top:bottom, left:right])
    _, labels = cv2.connectedComponents(box.view(np.uint8), connectivity=8)
    return pixels, np.asarray(labels[box] - 1, np.int32)


class _Collected:
    """Scores and weights of region pixels, and scores of normal pixels, over many images."""

    def __init__(self) -> None:
        self.scores: list[NDArray[Any]] = []
        self.weights: list[NDArray[np.float64]] = []
        self.normal: list[NDArray[Any]] = []
        self.regions = 0

    def add(self, scores: NDArray[Any], weights: NDArray[np.float64], regions: int) -> None:
        self.scores.append(scores)
        self.weights.append(weights)
        self.regions += regions

    def areas(self, limits: Sequence[float]) -> dict[float, float]:
        if not self.regions:
            raise UndefinedMetricError(
                "Overlap is not defined: no mask has an anomalous pixel, so there is no region."
            )
        rising, place, hits = np.unique(
            np.concatenate(self.scores), return_inverse=True, return_counts=True
        )
        curve = Curve.of(rising, hits, np.concatenate(self.normal))
        gains = np.bincount(place, weights=np.concatenate(self.weights))[::-1] / self.regions
        return {limit: curve.overlap(gains, limit) for limit in limits}


def _same_length(maps: Sequence[AnomalyMap], **others: Sequence[Any]) -> None:
    for name, other in others.items():
        if len(other) != len(maps):
            raise InputError(f"{len(maps)} maps came with {len(other)} {name}; expected as many.")
