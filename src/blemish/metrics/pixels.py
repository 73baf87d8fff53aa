"""Pixel figures of any number of maps, one image at a time, in 2 MB.

A float16 has 65,536 values. Three histograms over them, of normal pixels, anomalous pixels and
regions, hold all that pixel AUROC, average precision, F1-max and AU-PRO depend on.
"""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import InputError, OutputError, SavedError
from blemish.metrics import _checks
from blemish.metrics._curve import Curve
from blemish.metrics.overlap import region_pixels
from blemish.types import Mask

_BINS = 1 << 16
_BITS = np.arange(_BINS)
# Sign and magnitude to a number that rises with the value; both zeros come to the same one.
_RANK = np.where(_BITS < 0x8000, 0x8000 + _BITS, 0x10000 - _BITS)
_FINITE = slice(0x10000 - 0xFC00 + 1, 0x8000 + 0x7C00)
"""Ranks of numbers; infinities and NaN lie outside."""
_VALUE = np.zeros(_BINS, np.float16)
_VALUE[_RANK] = _BITS.astype(np.uint16).view(np.float16)
_HALF = 21
_ONE = 1 << (2 * _HALF)
"""A whole region in the region histogram, whose integers add up without rounding."""
_MOST_REGIONS = (1 << 63) // _ONE
_FORMAT = 1


@dataclass(frozen=True)
class Counts:
    """What went into an accumulator: images, of them those that were rounded, pixels, regions."""

    images: int = 0
    rounded: int = 0
    pixels: int = 0
    anomalous_pixels: int = 0
    regions: int = 0


@dataclass(frozen=True)
class RoundingBounds:
    """How far each figure can be from that of the maps before they were rounded to float16."""

    auroc: float
    average_precision: float
    f1_max: float
    au_pro: float


class PixelAccumulator:
    """Pixel AUROC, average precision, F1-max and AU-PRO, one image at a time.

    Maps of float16 give the figures of `blemish.metrics.ranking` and `overlap` on the same
    pixels: the counts are exact, a region's overlap at a threshold is cut off below 2**-42. Any
    other dtype is rounded to float16 first: by at most 2**-11 of the value above 2**-14 and
    2**-25 below. Rounding never swaps two pixels, it can only tie them; `rounding_bounds` says
    how much that can matter for the maps at hand. AU-PRO counts every region once, in whatever
    image. `a + b` is exact to the bit, in any order, so categories and machines can be added up;
    but scores of two categories are seldom on one scale, so the field averages their figures.
    """

    def __init__(self) -> None:
        self._normal = np.zeros(_BINS, np.int64)
        self._anomalous = np.zeros(_BINS, np.int64)
        self._regions = np.zeros(_BINS, np.int64)
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        """What has been added so far."""
        return self._counts

    def add(self, anomaly_map: ArrayLike, mask: Mask, name: str = "") -> None:
        """Take in one image; nothing changes where it raises.

        Args:
            anomaly_map: (H, W) float, higher is more anomalous, within the range of float16
                (65,504 either way).
            mask: (H, W) bool, True where anomalous; all False for a good image. Leave out an image
                whose truth is not known.
            name: what an error calls the image; its number from 0 if not given.

        Raises:
            InputError: the map is NaN or outside the range somewhere, or shapes do not fit.
        """
        raw = np.asarray(anomaly_map)
        name = name or f"Map {self._counts.images}"
        if raw.ndim != 2 or raw.dtype.kind not in "buif":
            raise InputError(
                f"{name} has shape {raw.shape} and dtype {raw.dtype}; expected (H, W) float."
            )
        mask = _checks.mask_of(mask, raw.shape, f"The mask of {name}")
        with np.errstate(over="ignore"):
            bits = raw.astype(np.float16, copy=False).view(np.uint16).ravel()
        every = np.zeros(_BINS, np.int64)
        np.add.at(every, _RANK, np.bincount(bits, minlength=_BINS))
        if every[_FINITE].sum() != raw.size:
            _refuse(raw, name)
        pixels, regions = region_pixels(mask)
        ranks = _RANK[bits[pixels]]
        areas = np.bincount(regions)
        counts = Counts(1, int(raw.dtype != np.float16), raw.size, pixels.size, areas.size)
        self._counts = _total(self._counts, counts)
        anomalous = np.bincount(ranks, minlength=_BINS)
        self._anomalous += anomalous
        self._normal += every - anomalous
        np.add.at(self._regions, *_gains(ranks, regions, areas))

    def __add__(self, other: PixelAccumulator) -> PixelAccumulator:
        """Both together, as if every image had been added to one."""
        total = PixelAccumulator()
        total._counts = _total(self._counts, other._counts)
        total._normal = self._normal + other._normal
        total._anomalous = self._anomalous + other._anomalous
        total._regions = self._regions + other._regions
        return total

    def auroc(self) -> float:
        """Pixel AUROC in [0, 1]. Raises UndefinedMetricError unless there are both classes."""
        return self._curve().auroc()

    def average_precision(self) -> float:
        """Pixel average precision in [0, 1]. Raises UndefinedMetricError as `auroc`."""
        return self._curve().average_precision()

    def f1_max(self) -> tuple[float, float]:
        """Best pixel F1 in [0, 1], an oracle, and its threshold, as `ranking.f1_max`."""
        return self._curve().f1_max()

    def au_pro(self, limit: float = 0.3) -> float:
        """AU-PRO in [0, 1] up to a false positive rate, as `overlap.au_pro`."""
        _checks.fpr_limit(limit)
        return self._curve().overlap(self._overlap_gains(), limit)

    def rounding_bounds(self, limit: float = 0.3) -> RoundingBounds:
        """What rounding to float16 can have done to each figure, at most.

        Pixels that share a bin may have had any order before. The figures of the best and the
        worst order enclose those of the maps as they came.

        Args:
            limit: of AU-PRO.

        Returns:
            Largest absolute differences; all 0 where every map was float16 already.

        Raises:
            UndefinedMetricError: as `auroc`.
        """
        curve, gains = self._curve(), self._overlap_gains()
        if not self._counts.rounded:
            return RoundingBounds(0.0, 0.0, 0.0, 0.0)
        best = replace(curve, false_at=curve.false_above)
        worst = replace(curve, false_above=curve.false_at)
        found = np.cumsum(curve.hits)
        first = found - curve.hits + 1  # of a bin's anomalous pixels, after all its normal ones
        lowest = float(curve.hits @ (first / (first + curve.false_at)) / found[-1])
        precision, pro = curve.average_precision(), curve.overlap(gains, limit)
        return RoundingBounds(
            best.auroc() - curve.auroc(),
            max(best.average_precision() - precision, precision - lowest),
            best.f1_max()[0] - curve.f1_max()[0],
            max(best.overlap(gains, limit) - pro, pro - worst.overlap(gains, limit)),
        )

    def save(self, path: Path) -> None:
        """Write an .npz file that `load` brings back, here or on another machine.

        Raises:
            OutputError: the file cannot be written; one that was there before stays whole.
        """
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("wb") as file:
                np.savez_compressed(
                    file,
                    format=_FORMAT,
                    counts=np.array(astuple(self._counts), np.int64),
                    normal=self._normal,
                    anomalous=self._anomalous,
                    regions=self._regions,
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}.") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises SavedError where it is damaged or of another format."""
        found = cls()
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                if int(saved["format"]) != _FORMAT:
                    raise SavedError(
                        f"{path} has format {saved['format']}; this version reads {_FORMAT}. "
                        "Make it anew from the maps."
                    )
                found._counts = Counts(*saved["counts"].tolist())
                for name in ("normal", "anomalous", "regions"):
                    histogram: NDArray[np.int64] = saved[name]
                    getattr(found, f"_{name}")[:] = histogram
        except FileNotFoundError as error:
            raise SavedError(f"{path} does not exist.") from error
        except SavedError:
            raise
        except Exception as error:  # a damaged archive raises whatever its damage leads to
            raise SavedError(f"{path} is damaged ({error}). Make it anew.") from error
        return found

    def _filled(self) -> NDArray[np.intp]:
        """Ranks with an anomalous pixel, falling."""
        return np.flatnonzero(self._anomalous)[::-1]

    def _curve(self) -> Curve:
        filled = self._filled()
        false_at = np.cumsum(self._normal[::-1])[::-1]
        return Curve(
            _VALUE[filled],
            self._anomalous[filled],
            false_at[filled] - self._normal[filled],
            false_at[filled],
            int(false_at[0]),
        )

    def _overlap_gains(self) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = self._regions[self._filled()] / _ONE
        return gains / max(self._counts.regions, 1)


def _gains(
    ranks: NDArray[np.int64], regions: NDArray[np.int32], areas: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What each region adds to the region histogram.

    Args:
        ranks: (P,) int64, bin of each anomalous pixel.
        regions: (P,) int32, number of its region from 0.
        areas: (R,) int64, pixels of each region.

    Returns:
        (K,) int64 bins, some of them repeated, and (K,) int64 gains. A region's gains are
        differences of `floor(_ONE * pixels at or above / area)`, so they add up to `_ONE`
        whatever the order in which images come.
    """
    falling = (regions.astype(np.int64) << 16) | (_BINS - 1 - ranks)
    runs, sizes = np.unique(falling, return_counts=True)
    region = runs >> 16
    at = np.cumsum(sizes) - (np.cumsum(areas) - areas)[region]
    area = areas[region]
    return _BINS - 1 - (runs & (_BINS - 1)), _part(at, area) - _part(at - sizes, area)


def _part(pixels: NDArray[np.int64], area: NDArray[np.int64]) -> NDArray[np.int64]:
    """floor(_ONE * pixels / area), in two halves that stay within int64."""
    whole, rest = np.divmod(pixels << _HALF, area)
    return (whole << _HALF) + (rest << _HALF) // area


def _total(a: Counts, b: Counts) -> Counts:
    total = Counts(*(x + y for x, y in zip(astuple(a), astuple(b), strict=True)))
    if total.regions >= _MOST_REGIONS:
        raise InputError(
            f"{total.regions} regions are too many for one accumulator, which counts up to "
            f"{_MOST_REGIONS - 1} exactly. Use one per category and average their figures."
        )
    return total


def _refuse(raw: NDArray[Any], name: str) -> None:
    """Raise for a map with a value that float16 cannot hold as a finite number."""
    _checks.finite(raw, name)
    with np.errstate(over="ignore"):
        place = tuple(np.argwhere(~np.isfinite(raw.astype(np.float16)))[0].tolist())
    raise InputError(
        f"{name}[{place[0]}, {place[1]}] is {raw[place]}; expected values within 65,504 either "
        "way, the range of float16. Divide all maps of the run by one power of two."
    )
