"""Move the operating point of a finished run or a saved detector; nothing is fitted anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.calibration import Calibration
from blemish.errors import ImageError, InputError, SavedError
from blemish.regions.from_map import regions_from_map
from blemish.runs import folder, pictures, report, rows
from blemish.runs.folder import Row
from blemish.runs.record import finish
from blemish.types import AnomalyMap

_DETECTOR = "detector.json"


@dataclass(frozen=True)
class Moved:
    """What a moved operating point changed.

    Attributes:
        before: the calibration until now.
        after: the calibration from now on.
        counts: verdicts before and after; empty for a saved detector.
        unmarked: pictures that are not normal now, but whose places cannot be marked because
            their maps were not kept.
        stale: pictures whose overlay shows the old operating point, as they are gone
            or have changed.
        damaged: lines of a stopped run that were cut short, and are left out.
    """

    before: Calibration
    after: Calibration
    counts: tuple[Mapping[str, int], Mapping[str, int]] = ({}, {})
    unmarked: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    damaged: int = 0

    def lines(self) -> list[str]:
        """The change in words, for a person."""
        said = [
            f"False alarm target {self.before.false_alarms:g} -> {self.after.false_alarms:g}; "
            f"operating point (raw score) {self.before.threshold:.4g} -> {self.after.threshold:.4g}"
        ]
        before, after = self.counts
        said += [f"{name}: {before[name]} -> {after[name]}" for name in before]
        if self.unmarked:
            said.append(
                f"Not marked, because the run was made without --maps: {_some(self.unmarked)}"
            )
        if self.stale:
            said.append(
                "Overlay not drawn again, because the picture is gone or has changed: "
                f"{_some(self.stale)}"
            )
        if self.damaged:
            said.append(
                f"Rows cut short when the run was stopped, and left out: {self.damaged}. Repeat "
                "its `blemish inspect` command to complete it."
            )
        return said


def move(path: Path, false_alarms: float) -> Moved:
    """Move the operating point of what a folder holds, a run or a saved detector.

    Args:
        path: the folder.
        false_alarms: the new target, in (0, 0.5].

    Raises:
        InputError: the folder holds neither, or a run with recordings.
        OptionError: the target is no such share.
        SavedError: the folder is damaged, or was not decided by a calibration.
        OutputError: it cannot be written.
    """
    if folder.is_run(path):
        if any("modality" in row for row in folder.read_rows(path)[0]):
            raise InputError(
                f"{path} holds recordings, whose scores in time or of points cannot be moved. "
                "Repeat its `blemish inspect` command with --false-alarms; pictures are then "
                "moved, and recordings inspected again."
            )
        return _move_run(path, false_alarms)
    if (path / _DETECTOR).is_file():
        return _move_detector(path / _DETECTOR, false_alarms)
    raise InputError(
        f"{path} is neither a run nor a saved detector; expected a folder with {folder.RECORD} "
        f"or {_DETECTOR}, such as the one that `blemish inspect` names at its end."
    )


def agree(out: Path, fingerprint: str, false_alarms: float) -> None:
    """Move the operating point of a run that is about to go on, if another one is wanted now.

    Recordings are left out: the run inspects them again.
    """
    record = folder.read_record(out) if folder.is_run(out) else None
    if record is None or record["detector"]["fingerprint"] != fingerprint:
        return
    if (record.get("calibration") or {}).get("false_alarms") not in (None, false_alarms):
        _move_run(out, false_alarms)


def _move_detector(path: Path, false_alarms: float) -> Moved:
    try:
        header = json.loads(path.read_bytes())
        before = Calibration.from_json(header["calibration"])
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise SavedError(
            f"{path} holds no calibration that can be read ({cause!r}). Fit the detector again."
        ) from cause
    after = before.moved(false_alarms)
    with folder.writing(path.parent):
        text = json.dumps({**header, "calibration": after.to_json()}, indent=1)
        folder.replace_file(path, text.encode())
    return Moved(before, after)


def _move_run(out: Path, false_alarms: float) -> Moved:
    with folder.opened(out):
        record = folder.read_record(out) or {}
        if not record.get("calibration"):
            raise SavedError(f"{out} was not decided by a calibration; there is nothing to move.")
        before = Calibration.from_json(record["calibration"])
        after = before.moved(false_alarms)
        everything, damaged = folder.read_rows(out)
        found = [row for row in everything if "modality" not in row]
        moved = [_judged(out, row, after) for row in found]
        record["calibration"] = after.to_json()
        # Until all is done the record says so: a run does not go on with half of its rows moved.
        folder.write_record(out, {**record, "moving": True})
        folder.write_rows(out, moved)
        stale = [row["id"] for row in moved if not _redrawn(out, row, after)]
        record.pop("moving", None)
        finish(out, record, moved)
    unmarked = [
        new["id"]
        for old, new in zip(found, moved, strict=True)
        if old.get("verdict") == "normal" != new["verdict"]
        and not (new["regions"] or new.get("map"))
    ]
    counts = (rows.counts(found), rows.counts(moved))
    return Moved(before, after, counts, tuple(unmarked), tuple(stale), damaged)


def _judged(out: Path, row: Row, point: Calibration) -> Row:
    """The row at another operating point. What a language model decided stays decided."""
    if "error" in row or row["raw_score"] is None or row["decided_by"] != "calibration":
        return row
    raw = row["raw_score"]
    verdict, reason = point.verdict(raw)
    regions: list[dict[str, Any]] = []
    if verdict != "normal":
        maps = _maps(out, row)
        found = regions_from_map(maps, point)
        regions = [rows.region_row(r, maps[r.view].shape, maps) for r in found]
        if not maps:
            regions = _kept(row["regions"], point)
    count = f"{len(regions)} region{'s' * (len(regions) != 1)}"
    score = point.score(raw)
    evidence = dict(row["evidence"])
    if "operating_point" in evidence:
        evidence["operating_point"] = point.threshold
    return {
        **row,
        "verdict": verdict,
        "reason": reason,
        "score": score,
        "regions": regions,
        "explanation": f"Score {score:.2f} and {count} at a false alarm target of "
        f"{point.false_alarms:g}, to which the operating point was moved.",
        "evidence": evidence,
    }


def _kept(regions: Sequence[Row], point: Calibration) -> list[dict[str, Any]]:
    """Those of a row's regions that still reach the operating point, in their old outlines."""
    stay = [r for r in regions if r["raw"] is None or r["raw"] >= point.threshold]
    return [
        {**r, "label": i, "score": r["score"] if r["raw"] is None else point.score(r["raw"])}
        for i, r in enumerate(stay, 1)
    ]


def _maps(out: Path, row: Row) -> tuple[AnomalyMap, ...]:
    if not row.get("map"):
        return ()
    try:
        return pictures.read_maps(out / row["map"])
    except Exception as cause:  # tifffile raises many kinds
        raise SavedError(
            f"{out / row['map']} cannot be read ({cause}). Delete it and repeat the "
            "`blemish inspect` command with --maps, which makes it again."
        ) from cause


def _redrawn(out: Path, row: Row, point: Calibration) -> bool:
    if "error" in row or not row["overlay"]:
        return True
    try:
        pictures.redraw(out, row, report.original(row), point)
    except ImageError:
        return False
    return True


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
