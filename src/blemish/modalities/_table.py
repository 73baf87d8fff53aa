"""Tables as machines and offices write them: CSV in its dialects, and Parquet."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from blemish.errors import InputError, MissingExtraError

MISSING = ("", "-", "?", "NA", "N/A", "#N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None")
"""Cells that are empty."""

NUMBER = r"[+-]?(?:\d+(?:{0}\d*)?|{0}\d+)(?:[eE][+-]?\d+)?"
"""Regular expression of a number, with {0} for its decimal point."""

_MOST_BYTES = 2 * 2**30
_HEAD = 64 * 1024
"""Bytes that tell a dialect."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file.

    Attributes:
        columns: name to a pyarrow ChunkedArray; names are unique and not empty.
        first: the first row's cells as they stand; empty where the file has types.
        decimal: what parts a number's whole from its fraction in cells of text, "." or ",".
        about: how the file was read, as JSON values.
    """

    columns: Mapping[str, Any]
    first: Mapping[str, str]
    decimal: str
    about: Mapping[str, Any]


def arrow(part: str = "") -> Any:
    """The module pyarrow, or a part of it.

    Raises:
        MissingExtraError: it is not installed.
    """
    return extra(f"pyarrow.{part}" if part else "pyarrow")


def extra(module: str) -> Any:
    """A module that comes with the extra "timeseries".

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as cause:
        raise MissingExtraError(
            f"Time series need {module.split('.')[0]}, which is not installed. Install it: "
            'pip install "blemish[timeseries]"'
        ) from cause


def read_table(path: Path) -> Table:
    """Read a CSV or Parquet file; the content decides which, never the name.

    Raises:
        InputError: no such file, too large, empty, or no table.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} is not a file that can be read. Check its spelling.")
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(
                f"{path} has {size:,} bytes; a series may have {_MOST_BYTES:,}. Split it by time."
            )
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from None
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise InputError(f"{path} is empty. Expected a table with a row for each point in time.")
    if head.startswith(b"PAR1"):
        return _parquet(path)
    return _csv(path, head, whole=len(head) == size)


def _parquet(path: Path) -> Table:
    pa = arrow()
    try:
        table = arrow("parquet").read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} is a Parquet file that is cut short or damaged: {_first(error)}. Copy it "
            "again from where it came."
        ) from error
    names = _unique(table.column_names)
    return Table(dict(zip(names, table.columns, strict=True)), {}, ".", {"kind": "Parquet"})


def _csv(path: Path, head: bytes, whole: bool) -> Table:
    pa = arrow()
    encoding = _encoding(head)
    text = head.decode(encoding, "ignore")
    if "\0" in text or not text.strip():
        raise InputError(f"{path} is no table: it holds no text. Expected CSV or Parquet.")
    lines = text.lstrip("\ufeff").splitlines()
    rows = [line for line in (lines if whole else lines[:-1]) if line.strip()][:200]
    skipped = next(i for i, line in enumerate(lines) if line.strip())
    delimiter = _delimiter(rows)
    cells = list(csv.reader(rows, delimiter=delimiter))
    decimal = _decimal(delimiter, cells)
    titles = [cell.strip() for cell in cells[0]]
    titled = not any(is_number(cell, decimal) or _is_time(cell) for cell in titles)
    names = _unique(titles if titled else [""] * len(titles))
    reader = arrow("csv")
    try:
        table = reader.read_csv(
            path,
            reader.ReadOptions(column_names=names, skip_rows=skipped + titled, encoding=encoding),
            reader.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in head),
            reader.ConvertOptions(
                decimal_point=decimal, null_values=MISSING, strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"{path} is not a table that can be read: {_first(error)}. Expected CSV with the same "
            "number of cells in each row, separated by comma, semicolon or tab."
        ) from error
    about = {
        "kind": "CSV",
        "separator": delimiter,
        "decimal_point": decimal,
        "encoding": encoding,
        "titles": titled,
    }
    first = dict(zip(names, (cells[titled:] or [[]])[0], strict=False))
    return Table(dict(zip(names, table.columns, strict=True)), first, decimal, about)


def _encoding(head: bytes) -> str:
    """UTF-8 where it can be; else what Western European offices write."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        # A character may be cut by the end of the head.
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf8"


def _delimiter(rows: Sequence[str]) -> str:
    """The separator that cuts all rows alike, into the most cells; semicolon where none does."""
    found = []
    for delimiter in ("\t", ";", ","):
        counts = {len(row) for row in csv.reader(rows, delimiter=delimiter)}
        if len(counts) == 1 and counts != {1}:
            found.append((counts.pop(), delimiter))
    if found:
        # With "1,5;2,5" a comma may cut all rows alike too: the earlier one counts.
        return next((d for _, d in found if d in "\t;"), found[0][1])
    ragged = max(("\t", ";", ","), key=rows[0].count)
    alone = all(re.fullmatch(rf'"?{NUMBER.format(",")}"?', row.strip()) for row in rows[1:])
    return ragged if ragged in rows[0] and not (alone and ragged == ",") else ";"


def _decimal(delimiter: str, cells: Sequence[Sequence[str]]) -> str:
    """A comma where more cells are numbers with it than with a point."""
    flat = [cell.strip() for row in cells for cell in row]
    commas = sum("," in cell and is_number(cell, ",") for cell in flat)
    return "," if commas > sum("." in cell and is_number(cell, ".") for cell in flat) else "."


def is_number(cell: str, decimal: str) -> bool:
    """Whether a cell reads as a number."""
    return re.fullmatch(NUMBER.format(re.escape(decimal)), cell) is not None


def _is_time(cell: str) -> bool:
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return True


def _unique(names: Sequence[str]) -> list[str]:
    """Names that tell columns apart: empty ones get their number, repeated ones a count."""
    found: list[str] = []
    for index, name in enumerate(names, 1):
        title = " ".join(str(name).split()) or f"column {index}"
        again = 2
        while title in found:
            title = f"{name} ({again})"
            again += 1
        found.append(title)
    return found


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
