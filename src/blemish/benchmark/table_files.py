"""A table's files: a page to read, long forms for other programs, a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from blemish.benchmark import table_layout as layout
from blemish.benchmark.averages import Row
from blemish.benchmark.table import Table, shots_words
from blemish.errors import MissingExtraError
from blemish.report import exports
from blemish.runs.folder import replace_file, writing

FORMAT = 1
"""Of figures.json."""


def write(table: Table, out: Path) -> tuple[str, ...]:
    """Write every file; what needs a package that is not there is left out.

    Returns:
        What was left out and why, in words.

    Raises:
        OutputError: the folder cannot be written.
    """
    from blemish.benchmark import plot

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        left_out = []
        optional: tuple[tuple[str, Callable[[Table], bytes | None]], ...] = (
            ("table.parquet", _parquet),
            ("plot.png", plot.draw),
        )
        for name, make in optional:
            try:
                data = make(table)
            except MissingExtraError as why:
                left_out.append(f"{name} was left out. {why}")
            else:
                if data is not None:
                    replace_file(out / name, data)
        replace_file(out / "table.md", _markdown(table, left_out).encode())
        replace_file(out / "table.csv", _csv(table.rows).encode())
        replace_file(out / "figures.json", _json(table).encode())
    return tuple(left_out)


def extra(module: str, what: str) -> Any:
    """A module of the extra `bench`.

    Raises:
        MissingExtraError: its package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f'{what} needs {package}, which is not installed: pip install "blemish[bench]"'
        ) from cause


def _json(table: Table) -> str:
    record = {
        "format": FORMAT,
        "protocol": table.protocol.id if table.protocol else None,
        "rows": [asdict(row) for row in table.rows],
        "cells": list(table.cells),
    }
    return json.dumps(record, indent=1) + "\n"


def _csv(rows: Iterable[Row]) -> str:
    held = io.StringIO(newline="")
    sheet = csv.writer(held)
    names = [field.name for field in fields(Row)]
    sheet.writerow(names)
    for row in rows:
        sheet.writerow([exports.cell(getattr(row, name)) for name in names])
    return held.getvalue()


def _parquet(table: Table) -> bytes:
    arrow = extra("pyarrow", "table.parquet")
    parquet = extra("pyarrow.parquet", "table.parquet")
    kinds = {"str": arrow.string(), "float": arrow.float64(), "int": arrow.int64()}
    schema = arrow.schema(
        [
            (field.name, arrow.bool_() if field.type == "bool" else _kind(str(field.type), kinds))
            for field in fields(Row)
        ]
    )
    held = arrow.BufferOutputStream()
    rows = [asdict(row) for row in table.rows]
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), held)
    return bytes(held.getvalue().to_pybytes())


def _kind(declared: str, kinds: dict[str, Any]) -> Any:
    return kinds.get(declared.partition(" ")[0], kinds["str"])


def _markdown(table: Table, left_out: Iterable[str]) -> str:
    protocol = table.protocol
    parts = [f"# {_plain(protocol.title) if protocol else 'Benchmark'}"]
    if protocol:
        parts.append(f"{_plain(protocol.source)}; protocol `{protocol.id}`.")
    parts += [_plain(layout.LEGEND), *map(_plain, left_out)]
    parts += [_block(block) for block in layout.means(table)]
    detail = layout.categories(table)
    if detail:
        parts += ["## Categories", *map(_block, detail)]
    asked = layout.asked(table)
    if asked:
        parts += ["## Language models", _plain(layout.ASKED_LEGEND), *map(_block, asked)]
    written = layout.prompts(table)
    if written:
        parts += ["## Prompts", _plain(layout.PROMPTS_LEGEND), _list(written)]
    parts += [*_missing(table), *_computed(table)]
    if protocol and protocol.unclear:
        parts += ["## What the document leaves open", _list(protocol.unclear)]
    return "\n\n".join(parts) + "\n"


def _block(block: layout.Block) -> str:
    rule = ["---"] * block.words + ["---:"] * (len(block.head) - block.words)
    lines = [_plain_all(block.head), tuple(rule), *map(_plain_all, block.lines)]
    return f"### {_plain(block.title)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _missing(table: Table) -> list[str]:
    """Figures that are missing, and pictures that do not count."""
    said = [
        f"{layout.title(row.data)}, {row.method}, {shots_words(row.shots)}, "
        f"{row.category}, {layout.name(row.metric)}: {row.note}"
        for row in table.averaged
        if row.note and row.level == "mean"
    ]
    for cell in table.cells:
        about = cell["cell"]
        where = (
            f"{layout.title(about['data'])}, {about['category']}, {about['method']}, "
            f"{shots_words(about['shots'])}, seed {about['seed']}"
        )
        said += [f"{where}: {words}" for words in layout.left_out(cell)]
        count = len(cell.get("failed", []))
        names = ", ".join(one["id"] for one in cell.get("failed", [])[:5])
        if count:
            more = f" and {count - 5} more" if count > 5 else ""
            said.append(f"{where}: {count} not judged and not counted: {names}{more}")
    return ["## What is missing", _list(said)] if said else []


def _computed(table: Table) -> list[str]:
    """How the figures came about, each distinct statement once."""
    said = [
        f"- {word}: `{' '.join(text.replace('`', '').split())}`"
        for word, texts in (
            ("How", (json.dumps(cell.get("computed", {})) for cell in table.cells)),
            ("Command", (_told(cell, "command") for cell in table.cells)),
            ("Version of blemish", (_told(cell, "version") for cell in table.cells)),
            ("Weights", (w for cell in table.cells for w in _weights(cell))),
        )
        for text in dict.fromkeys(texts)
        if text
    ]
    return ["## How the figures were computed", "\n".join(said)] if said else []


def _told(cell: Any, name: str) -> str:
    return str(cell.get("provenance", {}).get(name, ""))


def _weights(cell: Any) -> list[str]:
    weights = cell.get("provenance", {}).get("weights", {})
    return [f"{name}, sha256 {sha256}" for name, sha256 in weights.items()]


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(text)}" for text in texts)


def _plain_all(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_plain, texts))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: names come from folders and may hold anything."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
