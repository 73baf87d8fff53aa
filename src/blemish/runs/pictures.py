"""The pictures of a run folder: overlays for the eye, maps for other programs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from blemish.calibration import Calibration
from blemish.report.overlay import overlay
from blemish.runs import rows
from blemish.runs.folder import HEAT, MAPS, OVERLAYS, Row, writing
from blemish.runs.sources import Item
from blemish.types import AnomalyMap, Image, Inspection, Region, Sample

Point = Calibration | float | None
"""Where a raw score is at the limit: by a calibration; or, of maps that lie in [0, 1] already, such
as scores that a language model wrote, this score; None where that is not known."""
_HEAT = 160
"""Longest side in pixels of the map that is painted. Maps are smooth at this scale, and
calibrating each pixel of a 12 megapixel map would take a second."""


@dataclass(frozen=True)
class Drawing:
    """Writes what belongs to one inspection, and gives its row.

    Attributes:
        out: the run's folder.
        calibration: the detector's, by which heat is painted; without one, by the operating point
            that the evidence of an inspection names.
        overlays: draw what was found.
        keep_maps: write raw maps.
        labels: the truth, by id, where it is known.
    """

    out: Path
    calibration: Calibration | None
    overlays: bool
    keep_maps: bool
    labels: Mapping[str, str]

    def inspection(self, item: Item, sha256: str, sample: Sample, result: Inspection) -> Row:
        """Write overlay and map of an inspection, and return its row.

        Raises:
            OutputError: a file cannot be written.
        """
        begun = time.perf_counter()
        name = rows.file_name(item.id)
        extra: dict[str, object] = {
            "overlay": f"{OVERLAYS}/{name}.jpg" if self.overlays else None,
        }
        if item.id in self.labels:
            extra["label"] = self.labels[item.id]
        if self.keep_maps:
            extra["map"] = f"{MAPS}/{name}.tiff" if result.maps else None
        if extra.get("map"):
            write_maps(self.out / MAPS / f"{name}.tiff", result.maps)
        if self.overlays:
            small = write_heat(self.out, item.id, result.maps[0]) if result.maps else None
            heat = painted(small, self.calibration or point_of(result.evidence))
            caption = _caption(result.verdict, result.score)
            path = self.out / OVERLAYS / f"{name}.jpg"
            write_overlay(path, sample.image, heat, result.regions, caption)
        row = rows.inspection_row(item, sha256, sample.images, result, extra)
        row["usage"]["seconds"]["write"] = time.perf_counter() - begun
        return row


def redraw(out: Path, row: Row, image: Image, point: Calibration) -> None:
    """Write the overlay of a row again, at another operating point.

    Args:
        out: the run's folder.
        row: with the new verdict, score and regions.
        image: (H, W, 3) uint8 RGB, the inspected picture.
        point: the new operating point.
    """
    heat = painted(read_heat(out, row["id"]), point)
    caption = _caption(row["verdict"], row["score"])
    write_overlay(out / row["overlay"], image, heat, rows.regions_of(row), caption)


def write_heat(out: Path, item_id: str, raw: AnomalyMap) -> AnomalyMap:
    """Keep a raw map (H, W) at the small size that overlay and report are painted from."""
    import cv2

    scale = min(1.0, _HEAT / max(raw.shape))
    height, width = (max(1, round(side * scale)) for side in raw.shape)
    small = cv2.resize(raw, (width, height), interpolation=cv2.INTER_AREA).astype(np.float16)
    path = out / HEAT / f"{rows.file_name(item_id)}.npy"
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
        np.save(path, small)
    return small.astype(np.float32)


def read_heat(out: Path, item_id: str) -> AnomalyMap | None:
    """What `write_heat` kept, (h, w) float32 raw; None where there is nothing."""
    try:
        small = np.load(out / HEAT / f"{rows.file_name(item_id)}.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return np.asarray(small, np.float32)


def point_of(evidence: Mapping[str, Any]) -> Point:
    """The operating point that the evidence of an uncalibrated detector names."""
    named = evidence.get("operating_point")
    return named if isinstance(named, float) and 0 < named < 1 else None


def painted(raw: AnomalyMap | None, point: Point) -> AnomalyMap | None:
    """A raw map as scores in [0, 1], 0.5 at the limit, (h, w) float32; None without a limit."""
    if raw is None or point is None:
        return None
    if isinstance(point, Calibration):
        return point.score(raw)
    return np.interp(raw, (0, point, 1), (0, 0.5, 1)).astype(np.float32)


def write_overlay(
    path: Path, image: Image, heat: AnomalyMap | None, regions: Sequence[Region], caption: str
) -> None:
    """Draw what was found on a picture and write it as JPEG."""
    drawn = overlay(image, heat, [r for r in regions if r.view == 0], caption)
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
        # Whole colour resolution: thin outlines would lose theirs.
        PIL.Image.fromarray(drawn).save(path, quality=90, subsampling=0)


def write_maps(path: Path, maps: Sequence[AnomalyMap]) -> None:
    """Write raw maps as float16 TIFF, one page a view."""
    import tifffile

    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
        with tifffile.TiffWriter(path) as file:
            for view in maps:
                file.write(view.astype(np.float16), photometric="minisblack", metadata=None)


def read_maps(path: Path) -> tuple[AnomalyMap, ...]:
    """The maps that `write_maps` wrote, each (H, W) float32."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return tuple(page.asarray().astype(np.float32) for page in file.pages)


def _caption(verdict: str, score: float | None) -> str:
    return verdict if score is None else f"{verdict}, score {score:.2f}"
