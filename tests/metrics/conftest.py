"""Made maps and masks, and the published definition of overlap as plain loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blemish.types import Mask

Flood = list[list[tuple[int, int]]]
Make = Callable[..., tuple[list[NDArray[Any]], list[Mask]]]


def flood(mask: Mask) -> Flood:
    """The regions of a mask by flooding over the eight neighbours."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    while left:
        region, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        regions.append(region)
    return regions


def plain_area(
    maps: Sequence[NDArray[Any]],
    regions: Sequence[Sequence[tuple[Sequence[tuple[int, int]], int]]],
    limit: float,
) -> float:
    """Area under mean min(found / saturation, 1) against false positive rate, over all thresholds.

    Per image its regions, each a list of pixels and its saturation area.
    """
    normal = []
    for values, defects in zip(maps, regions, strict=True):
        union = {pixel for pixels, _ in defects for pixel in pixels}
        normal += [float(v) for place, v in np.ndenumerate(values) if place not in union]
    points = [(0.0, 0.0)]
    for threshold in sorted({float(v) for values in maps for v in values.ravel()}, reverse=True):
        found = [
            min(sum(float(values[p]) >= threshold for p in pixels) / saturation, 1.0)
            for values, defects in zip(maps, regions, strict=True)
            for pixels, saturation in defects
        ]
        false = sum(v >= threshold for v in normal)
        points.append((false / len(normal), sum(found) / len(found)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit


def plain_au_pro(maps: Sequence[NDArray[Any]], masks: Sequence[Mask], limit: float) -> float:
    """`plain_area` over flooded regions, each found only where all of it is."""
    return plain_area(maps, [[(r, len(r)) for r in flood(mask)] for mask in masks], limit)


@pytest.fixture
def au_pro_by_loops() -> Callable[..., float]:
    return plain_au_pro


@pytest.fixture
def spro_by_loops() -> Callable[..., float]:
    return plain_area


@pytest.fixture
def make() -> Make:
    """Maps with few different values, so that ties abound, and masks with several regions."""

    def made(
        seed: int, images: int = 4, side: int = 12, levels: int = 40, dtype: Any = np.float16
    ) -> tuple[list[NDArray[Any]], list[Mask]]:
        rng = np.random.default_rng(seed)
        maps, masks = [], []
        for number in range(images):
            mask = np.zeros((side, side), np.bool_)
            for _ in range(number):  # the first image is good
                y, x = rng.integers(0, side - 4, 2)
                h, w = rng.integers(1, 5, 2)
                mask[y : y + h, x : x + w] = True
            values = rng.integers(0, levels, mask.shape) + mask * rng.integers(0, levels // 2)
            maps.append((values / levels - 0.4).astype(dtype))
            masks.append(mask)
        return maps, masks

    return made
