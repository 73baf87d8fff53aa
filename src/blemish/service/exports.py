"""Inspections in the formats of other programs, and as a page to print."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from blemish.errors import BlemishError, OptionError
from blemish.report import exports as formats
from blemish.report.html import Card, write_report
from blemish.runs import rows as run_rows
from blemish.service.quality import truth
from blemish.service.types import Export, Exported, InspectionRow
from blemish.types import AnomalyMap, Failure, Image

MOST = 10_000
"""Inspections of one export."""
MOST_SHOWN = 500
"""Inspections of one HTML report, which holds their pictures: about 25 MB."""
IMAGE_ROOT = "/data/local-files/?d="
"""Where Label Studio finds pictures that it serves from a folder."""
Shown = Callable[[InspectionRow], tuple[Image, AnomalyMap | None]]
"""The picture (H, W, 3) of an inspection and its map of scores (h, w), if it has one."""
_COLUMNS = (
    *("inspection", "line", "version", "job", "name", "sha256", "created", "verdict", "score"),
    *("raw_score", "decided_by", "reason", "explanation", "regions", "boxes", "seconds"),
    *("feedback", "comment"),
)


def export(kind: Export, found: Sequence[InspectionRow], shown: Shown) -> Exported:
    """Inspections as a file.

    Args:
        kind: of the file.
        found: inspections, in the order of the file.
        shown: asked for the pictures of a report only.

    Raises:
        OptionError: an unknown kind, or too many inspections.
    """
    most = MOST_SHOWN if kind == "html" else MOST
    if len(found) > most:
        raise OptionError(
            f"{len(found)} inspections or more are wanted as {kind}, and one such file takes "
            f"{most}. Narrow the filter, such as to a line or a day."
        )
    if kind == "html":
        return Exported("report.html", "text/html; charset=utf-8", _page(found, shown))
    makers: dict[str, tuple[str, str, Callable[[Sequence[InspectionRow]], bytes]]] = {
        "jsonl": ("inspections.jsonl", "application/x-ndjson", _lines),
        "csv": ("inspections.csv", "text/csv; charset=utf-8", _sheet),
        "coco": ("coco.json", "application/json", _coco),
        "yolo": ("yolo.zip", "application/zip", _yolo),
        "label-studio": ("label_studio.json", "application/json", _tasks),
    }
    if kind not in makers:
        raise OptionError(f"Export {kind!r} came; expected one of {', '.join([*makers, 'html'])}.")
    name, media_type, make = makers[kind]
    return Exported(name, media_type, make(found))


def rows(found: Sequence[InspectionRow]) -> list[dict[str, Any]]:
    """Rows as those of inspections.jsonl. Their ids are file names, made unique where need be."""
    taken: set[str] = set()
    made = []
    for row in found:
        path = PurePosixPath(row.name.replace("\\", "/")).name or "picture"
        name = PurePosixPath(path)
        if name.stem.casefold() in taken or name.stem in ("", ".."):
            name = PurePosixPath(f"{name.stem.strip('.')}-{row.id[:12]}{name.suffix}")
        taken.add(name.stem.casefold())
        made.append(_row(row, str(name)))
    return made


def _row(row: InspectionRow, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "path": row.name,
        "sha256": row.sha256,
        "verdict": row.verdict,
        "score": row.score,
        "raw_score": row.raw_score,
        "decided_by": row.decided_by,
        "reason": row.reason,
        "sizes": [list(size) for size in row.sizes],
        "regions": [dict(region) for region in row.regions],
        "explanation": row.explanation,
        "evidence": dict(row.evidence),
        "usage": dict(row.usage),
        "inspection": row.id,
        "line": row.line,
        "version": row.version,
        "job": row.job,
        "created": row.created.isoformat(),
        "feedback": [
            {"says": f.says, "mark": f.mark, "comment": f.comment, "created": f.created.isoformat()}
            for f in row.feedback
        ],
    }


def _lines(found: Sequence[InspectionRow]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows(found)).encode()


def _sheet(found: Sequence[InspectionRow]) -> bytes:
    held = io.StringIO(newline="")
    sheet = csv.writer(held)
    sheet.writerow(_COLUMNS)
    for row in found:
        said = row.feedback[0] if row.feedback else None
        values = {
            **_row(row, row.name),
            "name": row.name,
            "regions": len(row.regions),
            "boxes": "; ".join(" ".join(map(str, region["box"])) for region in row.regions),
            "seconds": row.seconds,
            "feedback": said.says if said else "",
            "comment": said.comment if said else "",
        }
        sheet.writerow([formats.cell(values[column]) for column in _COLUMNS])
    # With a byte order mark, Excel reads UTF-8 as such.
    return held.getvalue().encode("utf-8-sig")


def _coco(found: Sequence[InspectionRow]) -> bytes:
    return json.dumps(formats.coco(rows(found), _made_by(found))).encode()


def _yolo(found: Sequence[InspectionRow]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in formats.yolo(rows(found)).items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return held.getvalue()


def _tasks(found: Sequence[InspectionRow]) -> bytes:
    made = formats.label_studio(
        rows(found), image_root=IMAGE_ROOT, model_version=_made_by(found) or "blemish"
    )
    return json.dumps(made).encode()


def _made_by(found: Sequence[InspectionRow]) -> str:
    return ", ".join(dict.fromkeys(f"{row.line} version {row.version}" for row in found))


def _page(found: Sequence[InspectionRow], shown: Shown) -> bytes:
    lines = list(dict.fromkeys(row.line for row in found))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        write_report(
            path,
            title=f"Inspection of {len(found)} part{'s' * (len(found) != 1)}"
            + (f": {lines[0]}" if len(lines) == 1 else ""),
            rows=_cards(found, shown),
            summary=_summary(found, lines),
        )
        return path.read_bytes()


def _summary(found: Sequence[InspectionRow], lines: Sequence[str]) -> Mapping[str, str]:
    if not found:
        return {"Inspections": "none"}
    times = sorted(row.created for row in found)
    return {
        "Lines": ", ".join(lines),
        "Versions": ", ".join(dict.fromkeys(f"{r.line} {r.version}" for r in found)),
        "From": f"{times[0]:%Y-%m-%d %H:%M} UTC",
        "To": f"{times[-1]:%Y-%m-%d %H:%M} UTC",
    }


def _cards(found: Sequence[InspectionRow], shown: Shown) -> Iterator[Card | Failure]:
    labels = {"": "", "good": "normal", "defective": "anomalous"}
    for row, plain in zip(found, rows(found), strict=True):
        try:
            image, heat = shown(row)
        except BlemishError as error:  # a picture that is gone takes no other with it
            yield Failure(plain["id"], type(error).__name__, str(error))
            continue
        marked = [region for region in run_rows.regions_of(plain) if region.view == 0]
        yield Card(plain, image, heat, marked, labels[truth(row)])
