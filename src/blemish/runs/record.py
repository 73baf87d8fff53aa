"""run.json: what a run says about itself, and how a run goes on from it."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from blemish import weights
from blemish.calibration import Calibration
from blemish.errors import ImageError, OutputError, SavedError
from blemish.runs import folder, rows
from blemish.runs import report as report_page
from blemish.runs.context import Context
from blemish.runs.folder import Row
from blemish.runs.sources import Item
from blemish.types import Detector

_LIBRARIES = ("numpy", "torch", "onnxruntime", "transformers", "opencv-python-headless", "pillow")


def begin(out: Path, detector: Detector, class_name: str, command: str) -> dict[str, Any]:
    """Write and return what run.json says before the first picture is done."""
    # Beyond the protocol, a detector may have these.
    options = getattr(detector, "options", None)
    encoder, language_model = (
        getattr(getattr(detector, part, None), "name", None)
        for part in ("encoder", "language_model")
    )
    calibration = detector.calibration
    record = {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "detector": {
            "name": detector.name,
            "fingerprint": detector.fingerprint,
            "options": options.model_dump(mode="json") if options else {},
            "encoder": encoder,
            "language_model": language_model,
            "seed": getattr(detector, "seed", None),
        },
        "weights": {row.name: row.sha256 for row in weights.table() if row.name == encoder},
        "references": list(getattr(detector, "references", [])),
        "calibration": calibration.to_json() if calibration else None,
        "class_name": class_name,
    }
    folder.write_record(out, record)
    folder.append_rows(out, [])
    return record


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("blemish", *_LIBRARIES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def finish(
    out: Path, record: Mapping[str, Any], everything: Sequence[Row], *, report: bool = True
) -> None:
    """Write the report, if one is wanted, and run.json with the totals of all rows."""
    seconds, usage = rows.stage_seconds(everything), rows.usage(everything)
    if report:
        begun = time.perf_counter()
        report_page.write(out, {**record, "seconds": seconds, "usage": usage}, everything)
        seconds["report"] = round(time.perf_counter() - begun, 4)
    totals = {"counts": rows.counts(everything), "usage": usage, "seconds": seconds}
    folder.write_record(out, {**record, **totals})


def resume(
    detector: Detector, items: Sequence[Item], out: Path, keep_maps: bool, context: Context
) -> tuple[Detector, dict[str, Row]]:
    """The detector at the operating point of the run that `out` holds, and the rows that stay.

    Rows stay where content and context of the picture are unchanged, and where it was not asked
    for.

    Raises:
        OutputError: it is the run of another detector.
        SavedError: it is damaged.
    """
    record = folder.read_record(out)
    if record is None:
        return detector, {}
    other = record.get("detector", {})
    if other.get("fingerprint") != detector.fingerprint:
        raise OutputError(
            f"{out} holds a run of {other.get('name')} with other options, references or weights, "
            "whose results cannot be mixed with new ones. Choose another folder, or delete it."
        )
    if record.get("moving"):
        target = record["calibration"]["false_alarms"]
        raise SavedError(
            f"The operating point of {out} was being moved when that was stopped. Complete it "
            f"first: blemish calibrate {out} --false-alarms {target:g}"
        )
    if record.get("calibration"):
        detector = detector.with_calibration(Calibration.from_json(record["calibration"]))
    found, damaged = folder.read_rows(out)
    by_id = {item.id: item for item in items}
    good = [row for row in found if "error" not in row]
    before = {"class_name": record.get("class_name")}
    keep = {}
    for row in good:
        item = by_id.get(row["id"])
        same = item is None or row.get("told", before) == rows.plain(context.told(item))
        if same and _still_true(row, item, out, keep_maps):
            keep[row["id"]] = row
    if damaged or len(keep) < len(found):
        folder.write_rows(out, list(keep.values()))
    return detector, keep


def _still_true(row: Row, item: Item | None, out: Path, keep_maps: bool) -> bool:
    """Whether a row need not be made again."""
    if item is None:
        return True
    if keep_maps and not ("map" in row and (row["map"] is None or (out / row["map"]).is_file())):
        return False
    try:
        return bool(row["sha256"] == item.sha256())
    except ImageError:
        return False
