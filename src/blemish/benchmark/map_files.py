"""Maps and scores that another program wrote, picture by picture; `maps` says how they lie."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.datasets.model import Item
from blemish.errors import ImageError, InputError
from blemish.images import decode_image, read_bytes
from blemish.runs import pictures, rows
from blemish.runs.folder import MAPS, Row
from blemish.runs.sources import Item as Picture
from blemish.types import Failure, Image, Inspection

SCORES = "scores.csv"
SUFFIXES = (".tiff", ".tif", ".npy", ".png")
_LARGEST = 65504.0

FloatMap = NDArray[np.float64]
"""(H, W) float64, higher is more anomalous."""


def names(items: Sequence[Item]) -> dict[str, str]:
    """What the map of each picture is called: its id without ending, where no other has that."""
    stems = {item.id: str(PurePosixPath(item.id).with_suffix("")) for item in items}
    count = Counter(stems.values())
    return {name: stem if count[stem] == 1 else name for name, stem in stems.items()}


def read_scores(path: Path) -> dict[str, float]:
    """scores.csv: id, with or without its ending, to score.

    Raises:
        InputError: it cannot be read, has other columns, an id twice, or a score that is none.
    """
    found: dict[str, float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if not {"id", "score"} <= {*(lines.fieldnames or ())}:
                raise InputError(
                    f"{path} has the columns {lines.fieldnames}; expected id and score."
                )
            for line in lines:
                if line["id"] in found:
                    raise InputError(f"{path} has two lines for {line['id']}; expected one.")
                found[line["id"]] = float(line["score"])
    except (OSError, ValueError, TypeError, csv.Error) as cause:
        raise InputError(f"{path} cannot be read as id,score: {cause}.") from cause
    return found


def read_map(path: Path) -> FloatMap:
    """A map of another program, (H, W) float64.

    Raises:
        InputError: it cannot be read, is no single plane, or has 8 bits.
    """
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        elif path.suffix == ".png":
            found = _png(path)
        else:
            import tifffile

            found = tifffile.imread(path)
    except InputError:
        raise
    except Exception as cause:  # damaged files raise whatever their damage leads to
        raise InputError(f"{path} cannot be read ({cause}).") from cause
    if found.ndim != 2 or found.dtype.kind not in "fiu" or found.dtype.itemsize < 2:
        raise InputError(
            f"{path} has shape {found.shape} and dtype {found.dtype}; expected one plane (H, W) of "
            "floating point or 16-bit values."
        )
    return np.asarray(found, np.float64)


def _png(path: Path) -> NDArray[Any]:
    from PIL import Image as Pillow

    with Pillow.open(path, formats=["PNG"]) as picture:
        if not picture.mode.startswith("I"):
            raise InputError(
                f"{path} is a PNG of mode {picture.mode}; expected 16-bit grey, since 256 steps "
                "tie most pixels. Write .tiff or .npy with floating point."
            )
        return np.asarray(picture)


class Given:
    """What another program wrote about the pictures of one cell."""

    def __init__(
        self,
        source: Path,
        category: str,
        items: tuple[Item, ...],
        scores: dict[str, float] | None,
    ) -> None:
        self.source, self.category, self.items, self.scores = source, category, items, scores
        self._names = names(items)
        found = {item.id: self._files(item) for item in items}
        self.with_maps = any(found.values())
        scored = [item for item in items if self._known(item) is not None]
        if not self.with_maps and not scored:
            raise InputError(
                f"{source} has no map and no score of any of the {len(items)} test pictures of "
                f"{category}. Expected, for {items[0].id}: {self._bases(items[0])[0]}"
                f"{' or '.join(SUFFIXES)}, or a line in {SCORES}."
            )
        self.exponent = self._exponent([path for paths in found.values() for path in paths])

    @property
    def computed(self) -> dict[str, str]:
        """How the figures came about, as far as it depends on what was given."""
        by = f", multiplied by 2**{self.exponent} first" if self.exponent else ""
        return {
            "map_dtype": f"float16{by}" if self.with_maps else "no maps",
            "image_score": "the maximum of the map" if self.scores is None else SCORES,
        }

    def rows(self, here: Path) -> Iterator[Row]:
        """A row for each picture; its map is written into the run folder `here`."""
        for item in self.items:
            picture = Picture(item.id, item.path)
            sha256 = ""
            try:
                data = read_bytes(item.path)
                sha256 = hashlib.sha256(data).hexdigest()
                image = decode_image(data, str(item.path))
                yield self._row(here, item, sha256, image)
            except (ImageError, InputError) as cause:
                failure = Failure(item.id, type(cause).__name__, str(cause))
                yield rows.failure_row(picture, sha256, failure)

    def _row(self, here: Path, item: Item, sha256: str, image: Image) -> Row:
        name = None
        raw = self._known(item)
        if self.with_maps:
            found = self._map(item, image.shape[:2])
            name = f"{MAPS}/{rows.file_name(item.id)}.tiff"
            scaled = np.ldexp(found, self.exponent).astype(np.float32)
            pictures.write_maps(here / name, [scaled])
            raw = float(found.max()) if self.scores is None else raw
        if raw is None or not math.isfinite(raw):
            raise InputError(f"{SCORES} gives {item.id} no finite score; expected a number.")
        result = Inspection(
            item.id, "unsure", "nothing", reason="nothing to decide on", raw_score=raw
        )
        extra = {"label": item.label, "overlay": None, "map": name}
        return rows.inspection_row(Picture(item.id, item.path), sha256, [image], result, extra)

    def _map(self, item: Item, size: tuple[int, ...]) -> FloatMap:
        """The map of a picture (H, W). Raises InputError where it cannot be used."""
        paths = self._files(item)
        if len(paths) != 1:
            these = " and ".join(map(str, paths)) or f"none at {self._bases(item)[0]}.*"
            raise InputError(f"Expected one map of {item.id}; found {these}.")
        found = read_map(paths[0])
        if found.shape != size:
            raise InputError(
                f"{paths[0]} has {found.shape[1]} x {found.shape[0]} pixels, its picture "
                f"{size[1]} x {size[0]}. Write the map at the picture's size; a map is never "
                "resized, since that moves every figure."
            )
        wrong = int((~np.isfinite(found)).sum())
        if wrong:
            raise InputError(f"{paths[0]} is NaN or infinite in {wrong} of {found.size} pixels.")
        return found

    def _known(self, item: Item) -> float | None:
        scores = self.scores or {}
        return scores.get(item.id, scores.get(self._names[item.id]))

    def _bases(self, item: Item) -> list[Path]:
        """Where a map may lie, without its ending."""
        name = self._names[item.id]
        return [self.source / name, self.source / self.category / name]

    def _files(self, item: Item) -> list[Path]:
        for base in self._bases(item):
            paths = [base.with_name(base.name + suffix) for suffix in SUFFIXES]
            found = [path for path in paths if path.is_file()]
            if found:
                return found
        return []

    def _exponent(self, paths: Sequence[Path]) -> int:
        """Of the power of 2 that brings all maps into the range of float16, and uses it.

        A power of 2 changes no order and no digit; small values would become 0 without it.
        """
        largest = 0.0
        for path in paths:
            try:
                found = read_map(path)
            except InputError:  # its picture says so
                continue
            finite = found[np.isfinite(found)]
            largest = max(largest, float(np.abs(finite).max(initial=0.0)))
        return math.floor(math.log2(_LARGEST / largest)) if largest else 0
