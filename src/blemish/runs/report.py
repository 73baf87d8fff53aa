"""From the rows of a run to its report, whatever of the pictures is still there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blemish.calibration import Calibration
from blemish.errors import ImageError
from blemish.images import decode_image, read_bytes, read_image
from blemish.report.html import Card, write_report
from blemish.runs import pictures, rows
from blemish.runs.folder import REPORT, Row
from blemish.runs.sources import called
from blemish.types import Failure, Image


def write(out: Path, record: Mapping[str, Any], everything: Sequence[Row]) -> None:
    """Write report.html.

    Args:
        out: the run's folder.
        record: what run.json says.
        everything: all rows.

    Raises:
        OutputError: it cannot be written.
    """
    values = record.get("calibration")
    point = Calibration.from_json(values) if values else None
    name = record.get("class_name", "object")
    count = called(len(everything), [row.get("modality") for row in everything])
    write_report(
        out / REPORT,
        title=f"Inspection of {count}" + (f": {name}" if name != "object" else ""),
        rows=_cards(out, everything, point),
        summary=_summary(record, point),
    )


def shown(out: Path, row: Row) -> Image:
    """What a row is shown by, (H, W, 3) uint8 RGB: the picture, or the view that says most.

    Raises:
        ImageError: it is not there any more, or has another content now.
    """
    if "modality" not in row:
        return original(row)
    if not row["pictures"]:
        raise ImageError(f"The views of {row['path']} were not kept.")
    return read_image(out / row["pictures"][row["shown"]])


def original(row: Row) -> Image:
    """The picture that a row is about, (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is not there any more, or has another content now.
    """
    data = read_bytes(row["path"])
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ImageError(f"{row['path']} has changed since it was inspected.")
    return decode_image(data, row["path"])


def _cards(
    out: Path, everything: Sequence[Row], point: Calibration | None
) -> Iterator[Card | Failure]:
    for row in everything:
        if "error" in row:
            yield Failure(row["id"], row["error"], row["message"])
            continue
        label = row.get("label", "")
        try:
            here = point or pictures.point_of(row["evidence"])
            heat = pictures.painted(pictures.read_heat(out, row["id"]), here)
            marked = [
                replace(region, view=0)
                for region in rows.regions_of(row)
                if region.view == row.get("shown", 0)
            ]
            yield Card(row, shown(out, row), heat, marked, label)
        except ImageError:
            yield Card(row, _overlay(out, row), label=label)


def _overlay(out: Path, row: Row) -> Image:
    """The overlay, for want of the picture; grey where that is gone as well."""
    if row["overlay"]:
        with contextlib.suppress(ImageError):
            return read_image(out / row["overlay"])
    return np.full((48, 64, 3), 128, np.uint8)


def _summary(record: Mapping[str, Any], point: Calibration | None) -> dict[str, str]:
    """What was run, in words."""
    detector = record.get("detector", {})
    with_encoder = f" with {detector['encoder']}" if detector.get("encoder") else ""
    said = {"Detector": f"{detector.get('name')}{with_encoder}, seed {detector.get('seed')}"}
    if record.get("references"):
        said["Compared with"] = f"{len(record['references'])} pictures"
    if detector.get("language_model"):
        said["Language model"] = f"{detector['language_model']}: {spent(record['usage'])}"
    if point:
        said["Operating point"] = (
            f"raw score {point.threshold:.4g}, at which {point.false_alarms:.3g} of good parts "
            f"are expected to be called anomalous; from {point.rule or 'a given calibration'}"
        )
    for name, sha256 in record.get("weights", {}).items():
        said["Weights"] = f"{name}, sha256 {sha256}"
    said["Seconds by stage"] = ", ".join(f"{k} {v:.2f}" for k, v in record["seconds"].items())
    said["Command"] = record.get("command") or "from Python"
    said["Version"] = f"blemish {record['versions']['blemish']}, started {record['started']}"
    return said


def spent(usage: Mapping[str, Any]) -> str:
    """What the questions of a run took, in words."""
    calls = usage["model_calls"]
    if not calls:
        return "no new call, every reply was kept from an earlier run"
    said = [f"{calls:,} call{'s' * (calls != 1)}"]
    if usage["tokens_in"]:
        said.append(f"{usage['tokens_in']:,} tokens in, {usage['tokens_out']:,} out")
    if usage["cost"]:  # of a model without a price nobody knows what it cost
        said.append(f"cost {usage['cost']:.4g}")
    return ", ".join(said)
