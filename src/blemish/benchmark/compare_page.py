"""What `blemish compare` writes: compare.json, and compare.html with the pictures side by side."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from blemish.benchmark.compare import DRAWS, LEVEL, Comparison, Difference, Pair
from blemish.benchmark.reader import Ran
from blemish.benchmark.table import shots_words
from blemish.errors import ImageError
from blemish.images import read_image
from blemish.report.card import Card, article
from blemish.runs import pictures, rows
from blemish.runs.folder import Row, replace_file, writing
from blemish.runs.report import original
from blemish.types import AnomalyMap, Image

FORMAT = 1
"""Of compare.json."""
MOST = 100
"""Pictures that the page shows, each twice; compare.json names them all."""
_STYLE = """
.pair { margin: 0 0 1.5rem; }
.pair > div { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.figures { max-width: 60rem; }
@media print { .pair { break-inside: avoid; } .picture > * { max-height: 7cm; } }
"""
_HEADINGS = {
    "worse": "Worse: right in A, not in B",
    "better": "Better: right in B, not in A",
    "other": "Changed, and right in neither or without a label",
}


def write(found: Comparison, out: Path) -> None:
    """Write compare.json and compare.html into a folder.

    Raises:
        OutputError: it cannot be written.
    """
    record = {
        "format": FORMAT,
        "a": found.a,
        "b": found.b,
        "differences": [asdict(one) for one in found.differences],
        "interval": f"paired bootstrap within labels, {DRAWS} draws, middle {LEVEL:.0%}",
        "undefined": list(found.undefined),
        "pairs": len(found.pairs),
        "left_out": found.left_out,
        "counts": found.counts,
        "changed": [_line(pair) for pair in found.changed],
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / "compare.json", (json.dumps(record, indent=1) + "\n").encode())
        page = "".join(_page(found)).encode("utf-8", "backslashreplace")
        replace_file(out / "compare.html", page)


def compared(found: Comparison) -> str:
    """How many pictures were compared, in words."""
    pictures = len({pair.row_a["id"] for pair in found.pairs})
    text = f"{pictures} picture{'s' * (pictures != 1)}"
    if len(found.pairs) > pictures:
        text += f", {len(found.pairs)} verdicts of each run"
    return text


def words(one: Difference) -> tuple[str, str, str, str, str]:
    """A difference as text: what, A, B, B - A in points, its interval."""
    about = f"{one.about}: {one.figure}" if one.about else one.figure
    note = f" ({one.note})" if one.note else ""
    interval = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    points = f"{100 * (one.b - one.a):+.1f}"
    return about + note, f"{100 * one.a:.1f}", f"{100 * one.b:.1f}", points, interval


def _line(pair: Pair) -> dict[str, object]:
    return {
        "id": pair.row_a["id"],
        "id_in_b": pair.row_b["id"],
        "where": str(pair.a.cell.get("category", "")),
        "seed": pair.a.cell.get("seed"),
        "change": pair.change,
        "label": pair.label,
        "a": {name: pair.row_a[name] for name in ("verdict", "score", "raw_score")},
        "b": {name: pair.row_b[name] for name in ("verdict", "score", "raw_score")},
    }


def _page(found: Comparison) -> Iterator[str]:
    css = (files("blemish.report") / "static" / "report.css").read_text("utf-8") + _STYLE
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    yield f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Two runs compared</title><style>{css}</style></head>
<body><header><h1>Two runs compared</h1>
<dl class="summary">
"""
    left_out = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
    for name, text in (
        ("A", found.a),
        ("B", found.b),
        ("Compared", compared(found)),
        ("Left out", left_out or "none"),
        *(("Not defined", why) for why in found.undefined),
    ):
        yield f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>\n"
    yield "</dl></header>\n<main>\n"
    yield _table(found)
    changed = found.changed
    shown = 0
    for change, heading in _HEADINGS.items():
        some = [pair for pair in changed if pair.change == change]
        yield f"<section><h2>{heading}: {len(some)}</h2>\n"
        for pair in some[: MOST - shown]:
            yield _pair(pair, shown)
            shown += 1
        yield "</section>\n"
    if shown < len(changed):
        yield f"<p>{len(changed) - shown} more are named in compare.json.</p>\n"
    yield "</main></body></html>\n"


def _table(found: Comparison) -> str:
    if not found.differences:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="number">{text}</td>' for text in texts)
        + "</tr>\n"
        for name, *texts in map(words, found.differences)
    )
    return f"""<section class="figures"><h2>Figures</h2><table>
<caption>In per cent; B - A in points, with what chance of the pictures leaves open: the middle
{LEVEL:.0%} of {DRAWS:,} paired draws of them.</caption>
<thead><tr><th scope="col">Figure</th><th scope="col" class="number">A</th>
<th scope="col" class="number">B</th><th scope="col" class="number">B - A</th>
<th scope="col" class="number">from, to</th></tr></thead>
<tbody>{lines}</tbody></table></section>
"""


def _pair(pair: Pair, number: int) -> str:
    sides = "".join(
        f"<div><p>{side}: {escape(ran.method)}</p>"
        f"{article(_card(ran, row, pair.label), f'{side}{number}')}</div>"
        for side, ran, row in (("A", pair.a, pair.row_a), ("B", pair.b, pair.row_b))
    )
    about = pair.row_a["id"]
    if pair.a.cell:
        about += f", {shots_words(pair.a.cell['shots'])}, seed {pair.a.cell['seed']}"
    return f'<div class="pair"><h3><bdi>{escape(about)}</bdi></h3>\n<div>{sides}</div></div>\n'


def _card(ran: Ran, row: Row, label: str | None) -> Card:
    """A picture with what one run found; its overlay, or grey, where the picture is gone."""
    try:
        heat = pictures.painted(_small(ran, row), ran.calibration)
        return Card(row, original(row), heat, rows.regions_of(row), label or "")
    except ImageError:
        return Card(row, _instead(ran, row), label=label or "")


def _small(ran: Ran, row: Row) -> AnomalyMap | None:
    """The raw map, few enough pixels to be calibrated one by one."""
    import cv2

    raw = ran.heat(row["id"])
    scale = min(1.0, 160 / max(raw.shape)) if raw is not None else 1.0
    if raw is None or scale == 1.0:
        return raw
    height, width = (max(1, round(side * scale)) for side in raw.shape)
    return np.asarray(cv2.resize(raw, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _instead(ran: Ran, row: Row) -> Image:
    if row.get("overlay"):
        with contextlib.suppress(ImageError):
            return read_image(ran.folder / row["overlay"])
    return np.full((48, 64, 3), 128, np.uint8)
