"""A file that is no single picture becomes samples of views, and what was found comes back.

Any detector judges the samples, one at a time; `Recording.back` carries scores from the pixels of
views to points or to seconds. Nothing here holds more of a long file than it has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappush, heapreplace
from typing import Any, Literal, Protocol

from blemish.errors import InputError
from blemish.types import Image, Inspection, Sample, Usage, Verdict

Modality = Literal["video", "point-cloud", "time-series"]
Judged = tuple[Sample, Inspection]

KEPT = 9
"""Samples of a recording whose views, maps and regions are kept: the most anomalous ones."""
_RANK: Mapping[Verdict, int] = {"normal": 0, "unsure": 1, "anomalous": 2}


@dataclass(frozen=True, eq=False)
class Carried:
    """What was found in a recording.

    Attributes:
        inspection: of the whole; its maps and regions belong to `views`, its spans or points to
            the recording.
        views: the views that are kept to be shown, each (H, W, 3) uint8 RGB, in their own order.
        names: what a person calls each of them, such as "12.5 s" or "from the left".
        shown: which of them to show first: where the most anomalous sample has its most anomalous
            region.
        where: in words where something was found, such as "from 12.0 s to 14.5 s"; empty where
            nothing was, or where the place is all there is to say.
    """

    inspection: Inspection
    views: tuple[Image, ...]
    names: tuple[str, ...]
    shown: int = 0
    where: str = ""


class Recording(Protocol):
    """An open file of one modality."""

    modality: Modality
    about: Mapping[str, Any]
    """What was read, as JSON values: frames, points or rows, and how they became views."""

    def samples(self) -> Iterator[Sample]:
        """The views in order, one or more a sample; read while they are asked for.

        Raises:
            ImageError: the file is damaged further on.
        """
        ...

    def back(self, judged: Iterable[Judged]) -> Carried:
        """What was found, in points or seconds.

        Args:
            judged: every sample of `samples`, in that order, with what a detector found on it;
                taken one by one.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Kept:
    """One sample with what was found on it, ordered by how anomalous it is, then by place."""

    judged: Judged
    place: int

    def __lt__(self, other: _Kept) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[int, float, int]:
        found = self.judged[1]
        return _RANK[found.verdict], -1.0 if found.score is None else found.score, -self.place


def combine(item_id: str, judged: Iterable[Judged]) -> Carried:
    """One inspection out of those of all samples; without spans and points, which `back` adds.

    The most anomalous sample decides: anomalous before unsure before normal, then the higher
    score. Maps, regions and evidence of the `KEPT` most anomalous samples stay.

    Args:
        item_id: of the recording.
        judged: samples and what was found on them, in order; taken one by one.

    Raises:
        InputError: none came.
    """
    kept: list[_Kept] = []
    usage, count = Usage(), 0
    for count, pair in enumerate(judged, 1):
        usage += pair[1].usage
        one = _Kept(pair, count - 1)
        if len(kept) < KEPT:
            heappush(kept, one)
        elif kept[0] < one:
            heapreplace(kept, one)
    if not kept:
        raise InputError(f"{item_id} has no view to look at.")
    most = max(kept)
    worst = most.judged[1]
    kept.sort(key=lambda one: one.place)
    whole = all(found.maps for _, found in (one.judged for one in kept))
    regions, start, shown = [], 0, 0
    for one in kept:
        sample, found = one.judged
        if one is most:
            shown = (
                start + max(found.regions, key=lambda r: r.score).view if found.regions else start
            )
        regions += [replace(region, view=start + region.view) for region in found.regions]
        start += len(sample.images)
    regions.sort(key=lambda region: -region.score)
    inspection = replace(
        worst,
        id=item_id,
        maps=tuple(m for one in kept for m in one.judged[1].maps) if whole else (),
        regions=tuple(replace(r, label=i) for i, r in enumerate(regions, 1)),
        evidence={
            "samples": count,
            "kept": [
                {"sample": o.place, "id": o.judged[0].id, **o.judged[1].evidence} for o in kept
            ],
        },
        usage=usage,
    )
    views = tuple(view for one in kept for view in one.judged[0].images)
    names = tuple(one.judged[0].id for one in kept for _ in one.judged[0].images)
    return Carried(inspection, views, names, shown)
