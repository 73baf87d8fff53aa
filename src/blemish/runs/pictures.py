"""The pictures of a run folder: overlays for the eye, maps for other programs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from blemish.calibration import Calibration
from blemish.modalities.point_cloud import Cloud, write_ply
from blemish.modalities.recording import Carried, Recording
from blemish.regions.from_map import begin
from blemish.report.overlay import overlay
from blemish.runs import rows
from blemish.runs.context import Context
from blemish.runs.folder import HEAT, MAPS, OVERLAYS, POINTS, VIEWS, Row, writing
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
        context: what is known of the items.
    """

    out: Path
    calibration: Calibration | None
    overlays: bool = True
    keep_maps: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    context: Context = field(default_factory=Context)

    def inspection(self, item: Item, sha256: str, sample: Sample, result: Inspection) -> Row:
        """Write overlay and map of a picture, and return its row.

        Raises:
            OutputError: a file cannot be written.
        """
        begun = time.perf_counter()
        extra = self._written(item, sample.images, 0, result)
        return self._timed(rows.inspection_row(item, sha256, sample.images, result, extra), begun)

    def recording(self, item: Item, sha256: str, recording: Recording, carried: Carried) -> Row:
        """Write overlay, maps, views and points of a recording, and return its row.

        Raises:
            OutputError: a file cannot be written.
        """
        begun = time.perf_counter()
        result, shown, where = carried.inspection, carried.shown, carried.where
        name = carried.names[shown]
        if result.verdict != "normal" and not where:
            where = f"in {name}"
            words = f"{result.explanation} Most anomalous {where}."
            result = replace(result, explanation=words.strip())
        extra = {
            "modality": recording.modality,
            "about": recording.about,
            "where": where,
            "spans": result.spans,
            "points": None,
            "views": carried.names,
            "pictures": self._views(item, carried.views) if self.overlays else [],
            "shown": shown,
            **self._written(item, carried.views, shown, result, name),
        }
        if isinstance(recording, Cloud) and result.points is not None:
            extra["points"] = f"{POINTS}/{rows.file_name(item.id)}.ply"
            with writing(self.out / POINTS):
                (self.out / POINTS).mkdir(exist_ok=True)
            write_ply(self.out / str(extra["points"]), recording.points, result.points)
        return self._timed(rows.inspection_row(item, sha256, carried.views, result, extra), begun)

    def _written(
        self, item: Item, views: Sequence[Image], shown: int, result: Inspection, called: str = ""
    ) -> dict[str, Any]:
        """Write overlay and maps, and return the fields that name them, and what is known."""
        name = rows.file_name(item.id)
        extra: dict[str, Any] = {
            "told": self.context.told(item),
            "overlay": f"{OVERLAYS}/{name}.jpg" if self.overlays else None,
        }
        if item.id in self.labels:
            extra["label"] = self.labels[item.id]
        if self.keep_maps:
            extra["map"] = f"{MAPS}/{name}.tiff" if result.maps else None
        if extra.get("map"):
            write_maps(self.out / MAPS / f"{name}.tiff", result.maps)
        if self.overlays:
            small = write_heat(self.out, item.id, result.maps[shown]) if result.maps else None
            heat = painted(small, self.calibration or point_of(result.evidence))
            caption = ", ".join(filter(None, (said(result.verdict, result.score), called)))
            path = self.out / OVERLAYS / f"{name}.jpg"
            write_overlay(path, views[shown], heat, in_view(result.regions, shown), caption)
        return extra

    def _views(self, item: Item, views: Sequence[Image]) -> list[str]:
        """Write the views of a recording, and return their paths below the run's folder."""
        name = f"{VIEWS}/{rows.file_name(item.id)}"
        # Lines and edges of drawn views would be smeared; frames of videos are large.
        ending = "jpg" if item.modality == "video" else "png"
        with writing(self.out / name):
            (self.out / name).mkdir(parents=True, exist_ok=True)
            for old in (self.out / name).iterdir():
                old.unlink()
            names = [f"{name}/{number}.{ending}" for number in range(1, len(views) + 1)]
            for one, view in zip(names, views, strict=True):
                PIL.Image.fromarray(view).save(self.out / one, quality=95, subsampling=0)
        return names

    def _timed(self, row: Row, begun: float) -> Row:
        row["usage"]["seconds"]["write"] = time.perf_counter() - begun
        return row


def in_view(regions: Sequence[Region], view: int) -> list[Region]:
    """The regions of one view."""
    return [region for region in regions if region.view == view]


def redraw(out: Path, row: Row, image: Image, point: Calibration) -> None:
    """Write the overlay of a row again, at another operating point.

    Args:
        out: the run's folder.
        row: with the new verdict, score and regions.
        image: (H, W, 3) uint8 RGB, the inspected picture.
        point: the new operating point.
    """
    heat = painted(read_heat(out, row["id"]), point)
    caption = said(row["verdict"], row["score"])
    write_overlay(out / row["overlay"], image, heat, in_view(rows.regions_of(row), 0), caption)


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
    kept = evidence.get("kept") or [{}]  # views of a recording, all with the same one
    named = evidence.get("operating_point", kept[0].get("operating_point"))
    return named if isinstance(named, float) and 0 < named < 1 else None


def scored(raw: AnomalyMap | None, point: Point) -> AnomalyMap | None:
    """A raw map as scores in [0, 1], 0.5 at the limit, (h, w) float32; None without a limit."""
    if raw is None or point is None:
        return None
    if isinstance(point, Calibration):
        return point.score(raw)
    return np.interp(raw, (0, point, 1), (0, 0.5, 1)).astype(np.float32)


def painted(raw: AnomalyMap | None, point: Point) -> AnomalyMap | None:
    """`scored` for the eye: 0.5 where regions begin.

    With a calibration that is the limit, or above it where a defect raised the scores of the whole
    picture: all of it would be coloured, and the places that stand out not to be told from it.
    """
    scores = scored(raw, point)
    if raw is None or scores is None or not isinstance(point, Calibration):
        return scores
    # Never below the limit: no part may look worse than it scores.
    start = max(0.5, point.score(begin(raw, point.threshold)))
    return np.interp(scores, (0, start, 1), (0, 0.5, 1)).astype(np.float32)


def write_overlay(
    path: Path, image: Image, heat: AnomalyMap | None, regions: Sequence[Region], caption: str
) -> None:
    """Draw what was found on a picture and write it as JPEG."""
    drawn = overlay(image, heat, regions, caption)
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


def said(verdict: str, score: float | None) -> str:
    """What stands under a picture."""
    return verdict if score is None else f"{verdict}, score {score:.2f}"
