"""Which pictures of a cell count for which figures.

Maps are read one at a time, as float16 and at the pictures' own size; nothing is resized. A
picture that failed, or whose map is not finite, is named and counted apart, never scored; one
whose mask is missing, empty or of another size counts, but not for pixel figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.datasets.model import Dataset, Item
from blemish.errors import InputError
from blemish.metrics.pixels import PixelAccumulator
from blemish.runs.folder import Row
from blemish.runs.pictures import read_maps
from blemish.types import Mask

Notes = list[dict[str, str]]
"""Pictures by id, and what is wrong with each, as "message"."""


@dataclass
class Judged:
    """What a cell's pictures gave.

    Attributes:
        rows: of the pictures that count, with their truth.
        failed: pictures that do not count.
        unmasked: pictures that count, but not for pixel figures.
        pixels: of the others.
    """

    rows: list[tuple[Item, Row]] = field(default_factory=list)
    failed: Notes = field(default_factory=list)
    unmasked: Notes = field(default_factory=list)
    pixels: PixelAccumulator = field(default_factory=PixelAccumulator)

    @property
    def labels(self) -> list[bool]:
        """Whether each picture that counts is anomalous."""
        return [item.label == "anomalous" for item, _ in self.rows]

    def scored(self, name: str) -> tuple[list[bool], list[float]]:
        """Labels and scores of the pictures that have a "score" or "raw_score"."""
        found = [(item, row[name]) for item, row in self.rows if row[name] is not None]
        return [item.label == "anomalous" for item, _ in found], [score for _, score in found]


def judge(dataset: Dataset, folder: Path, items: Sequence[Item], rows: Mapping[str, Row]) -> Judged:
    """Sort out which pictures count for what, and add up the pixels of those that do."""
    judged = Judged()
    for item in items:
        row = rows[item.id]
        if "error" in row:
            judged.failed.append({"id": item.id, "message": row["message"]})
            continue
        found = _map(folder, row)
        if found is not None and not np.isfinite(found).all():
            judged.failed.append({"id": item.id, "message": _not_finite(found)})
            continue
        judged.rows.append((item, row))
        if found is None or not dataset.pixels:
            continue
        try:
            mask = _mask(item, found.shape)
        except InputError as why:
            judged.unmasked.append({"id": item.id, "message": str(why)})
        else:
            judged.pixels.add(found, mask, item.id)
    return judged


def _map(folder: Path, row: Row) -> NDArray[np.float16] | None:
    if not row.get("map"):
        return None
    return read_maps(folder / row["map"])[0].astype(np.float16)


def _mask(item: Item, shape: tuple[int, ...]) -> Mask:
    """The truth of a picture of a map's size. Raises InputError where it has none to use."""
    mask = item.mask(np.broadcast_to(np.uint8(0), (*shape, 3)))  # only its size is asked for
    if mask is None:
        raise InputError("Anomalous, and no mask says where.")
    if item.label == "anomalous" and not mask.any():
        raise InputError("Anomalous, but its mask is empty.")
    return mask


def _not_finite(found: NDArray[np.float16]) -> str:
    wrong = int((~np.isfinite(found)).sum())
    return (
        f"{wrong} of {found.size} pixels of its map are no finite numbers within float16. Check "
        "the detector and its weights; the picture is not scored."
    )
