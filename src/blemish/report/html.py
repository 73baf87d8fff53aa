"""Writes one self-contained web page about a run: it opens offline, from a file, on a phone.

Pictures go through one at a time: cards are spooled to a temporary file and copied behind the
table, most anomalous first. About 45 kB of page and 5 kB of memory a picture.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import IO

import numpy as np
from PIL import Image as Pillow

from blemish.errors import OutputError
from blemish.report.card import SIGNS, Card, article, badge, data_uri, table_row
from blemish.report.overlay import heatmap_layer
from blemish.types import Failure

__all__ = ["Card", "write_report"]


@dataclass(frozen=True)
class _Line:
    """A row of the table, and where its card lies in the spool."""

    order: tuple[int, float, str]
    verdict: str
    cells: str
    start: int
    length: int


def write_report(
    path: Path, *, title: str, rows: Iterable[Card | Failure], summary: Mapping[str, str]
) -> None:
    """Write the page; an older one stays whole until the new one is complete.

    Args:
        path: the file to write, such as report.html.
        title: what was inspected.
        rows: pictures and failures in any order, read once.
        summary: what was run, by name: detector, references, weights, calibration, command.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as spool, unfinished.open("wb") as page:
            lines, failures, labelled = _spool(spool, rows)
            lines.sort(key=lambda line: line.order)
            head, tail = _frame(title, summary, lines, failures, labelled)
            page.write(_bytes(head))
            for line in lines:
                spool.seek(line.start)
                page.write(spool.read(line.length))
            page.write(_bytes(tail))
            page.flush()
            os.fsync(page.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise OutputError(
            f"The report {path} cannot be written: {error.strerror or error}. Free space, or "
            "choose an output folder that this user may write to."
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _spool(
    spool: IO[bytes], rows: Iterable[Card | Failure]
) -> tuple[list[_Line], list[Failure], bool]:
    """Write each card's piece of the page; give table rows, failures, and if there is a truth."""
    lines: list[_Line] = []
    failures: list[Failure] = []
    labelled = False
    for row in rows:
        if isinstance(row, Failure):
            failures.append(row)
            continue
        labelled = labelled or bool(row.label)
        found, key = row.inspection, f"part-{len(lines) + 1}"
        verdict, score = found["verdict"], found["score"]
        order = (list(SIGNS).index(verdict), 1.0 if score is None else -score, found["id"])
        piece, start = _bytes(article(row, key)), spool.tell()
        spool.write(piece)
        lines.append(_Line(order, verdict, table_row(row, key), start, len(piece)))
    return lines, failures, labelled


def _frame(
    title: str,
    summary: Mapping[str, str],
    lines: Sequence[_Line],
    failures: Sequence[Failure],
    labelled: bool,
) -> tuple[str, str]:
    """The page before the cards and after them."""
    static = resources.files("blemish.report") / "static"
    page, css, script = (
        (static / name).read_text("utf-8") for name in ("report.html", "report.css", "report.js")
    )
    counts = Counter(line.verdict for line in lines)
    counts["failed"] = len(failures)
    scale = np.linspace(0, 1, 128, dtype=np.float32)[None]
    values = {
        "title": escape(title),
        "css": css,
        "script": script,
        "css_hash": _csp_hash(css),
        "script_hash": _csp_hash(script),
        "summary": "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>\n"
            for name, value in summary.items()
        ),
        "counts": "".join(f"<li>{badge(v, f'{counts[v]} {v}')}</li>\n" for v in SIGNS if counts[v]),
        "scale": data_uri(Pillow.fromarray(heatmap_layer(scale)), "PNG"),
        "table": "".join(line.cells for line in lines),
        "unlabelled": "" if labelled else ' class="unlabelled"',
        "hidden": "" if lines else " hidden",
        "failures": _failures(failures),
    }
    head, _, tail = page.partition("$cards")
    return Template(head).substitute(values), Template(tail).substitute(values)


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    items = "".join(
        f"<li><bdi>{escape(f.id)}</bdi><p>{escape(f.message)}</p></li>\n" for f in failures
    )
    return f"""<section aria-labelledby="failed"><h2 id="failed">Could not be inspected</h2>
<ul class="failures">
{items}</ul></section>"""


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _bytes(text: str) -> bytes:
    """UTF-8; bytes of a file name that are no text come out as escapes."""
    return text.encode("utf-8", "backslashreplace")
