"""Inspections as rows of inspections.jsonl, and regions back from them."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from blemish import rle
from blemish.runs.folder import Row
from blemish.runs.sources import Item
from blemish.types import AnomalyMap, Failure, Image, Inspection, Region

COUNTED = ("normal", "anomalous", "unsure", "failed")


def inspection_row(
    item: Item, sha256: str, views: Sequence[Image], result: Inspection, extra: Mapping[str, Any]
) -> Row:
    """The row of one inspection.

    Args:
        item: the picture.
        sha256: of its file.
        views: the sample's images, each (H, W, 3) uint8, whose sizes the masks take.
        result: what was found.
        extra: fields that the run adds, such as "label", "overlay" and "map".
    """
    row = {
        "id": item.id,
        "path": str(item.path),
        "sha256": sha256,
        "verdict": result.verdict,
        "score": result.score,
        "raw_score": result.raw_score,
        "decided_by": result.decided_by,
        "reason": result.reason,
        "sizes": [list(view.shape[:2]) for view in views],
        "regions": [region_row(r, views[r.view].shape[:2], result.maps) for r in result.regions],
        "explanation": result.explanation,
        "evidence": result.evidence,
        "usage": asdict(result.usage),
        **extra,
    }
    return dict(plain(row))


def failure_row(item: Item, sha256: str, failure: Failure) -> Row:
    """The row of a picture that could not be inspected; `sha256` is "" where it was not read."""
    row = {"id": item.id, "path": str(item.path), "sha256": sha256}
    if item.modality:
        row["modality"] = item.modality
    return dict(plain({**row, "error": failure.error, "message": failure.message}))


def region_row(region: Region, size: tuple[int, ...], maps: Sequence[AnomalyMap]) -> dict[str, Any]:
    """A region as JSON values.

    Args:
        region: of the view that it names.
        size: (H, W) of that view, which the COCO mask takes.
        maps: the sample's raw maps, for the highest raw score of the region; may be empty.
    """
    raw = None
    x0, y0, x1, y1 = region.box
    mask = np.zeros(size[:2], np.bool_)
    mask[y0:y1, x0:x1] = region.mask
    if region.view < len(maps):
        raw = float(maps[region.view][y0:y1, x0:x1][region.mask].max())
    return {
        "label": region.label,
        "box": list(region.box),
        "score": region.score,
        "raw": raw,
        "area": region.area,
        "position": region.position,
        "view": region.view,
        "mask": rle.encode(mask),
    }


def regions_of(row: Row) -> tuple[Region, ...]:
    """The regions that a row holds."""
    found = []
    for entry in row["regions"]:
        x0, y0, x1, y1 = entry["box"]
        mask = rle.decode(entry["mask"])[y0:y1, x0:x1]
        rest = (entry["score"], entry["position"], entry["view"])
        found.append(Region(entry["label"], (x0, y0, x1, y1), mask, *rest))
    return tuple(found)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows are normal, anomalous, unsure and failed."""
    count = Counter("failed" if "error" in row else row["verdict"] for row in rows)
    return {name: count[name] for name in COUNTED}


def stage_seconds(rows: Sequence[Row]) -> dict[str, float]:
    """Seconds of each stage, summed over all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.get("usage", {}).get("seconds", {}))
    return {stage: round(seconds, 4) for stage, seconds in total.items()}


def usage(rows: Sequence[Row]) -> dict[str, float]:
    """Model calls, tokens and money, summed over all rows; failures do not say theirs."""
    used = [row["usage"] for row in rows if "usage" in row]
    names = ("model_calls", "tokens_in", "tokens_out", "cost")
    return {name: sum(one[name] for one in used) for name in names}


def file_name(item_id: str) -> str:
    """A name for files about one picture: readable, safe on every system, unique.

    >>> file_name("line 3/part.png")
    'line_3_part-c29ab2'
    """
    stem = str(PurePosixPath(item_id).with_suffix(""))
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", stem).strip("._")[-80:]
    return f"{plain}-{hashlib.sha256(item_id.encode()).hexdigest()[:6]}"


def plain(value: Any) -> Any:
    """Any value as JSON gives it back; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
