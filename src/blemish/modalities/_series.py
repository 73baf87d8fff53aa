"""A table as a time series: which column is the time, which are channels, and where gaps are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError, OptionError, nearest
from blemish.modalities._table import MISSING, NUMBER, Table, arrow, is_number

GAP = 10
"""A step of more than this many median steps is a gap: the line is not drawn across it."""

_TIMES = {"time", "timestamp", "datetime", "date", "t", "seconds", "zeit"}
"""Titles, without a unit, by which a column of numbers is taken for the time."""
_MOST_CELLS = 200_000_000


@dataclass(frozen=True, eq=False)
class Series:
    """Channels over time.

    Attributes:
        times: (N,) float64, in order, N >= 2: the file's own numbers, seconds since the first row
            where it has a clock, or row numbers from 1.
        channels: name to (N,) float64; NaN where the file has no value.
        start: the first row's clock, in the file's time zone where it has one; None without.
        time: the time's title; None where there is no such column.
        step: the usual time from one row to the next, more than 0.
        about: how the table was read, as JSON values.
    """

    times: NDArray[np.float64]
    channels: Mapping[str, NDArray[np.float64]]
    start: datetime | None
    time: str | None
    step: float
    about: Mapping[str, Any]

    @property
    def end(self) -> float:
        """When the last row ends."""
        return float(self.times[-1]) + self.step

    @property
    def unit(self) -> str:
        """Of the times, as the column's title gives it: "s" of "time [s]"; "" where it does not."""
        found = re.search(r"[\[(]\s*([^\])]+?)\s*[\])]\s*$", self.time or "")
        return found[1] if found else ""


def read_series(
    path: Path, table: Table, time: str | None, channels: Sequence[str] | None
) -> Series:
    """Pick time and channels out of a table.

    Args:
        path: for messages.
        table: of the file.
        time: title of the time's column; None to look for one.
        channels: titles of the channels; None for all columns that hold numbers.

    Raises:
        InputError: too few rows, a cell that cannot be used, or no channel.
        OptionError: no such column.
    """
    rows = len(next(iter(table.columns.values()), ()))
    if rows < 2:
        raise InputError(
            f"{path} has {rows} {'row' if rows == 1 else 'rows'} besides the titles; a series "
            "needs two or more."
        )
    for name in (*([time] if time else ()), *(channels or ())):
        if name not in table.columns:
            raise OptionError(f"{path} has no column {name!r}. {nearest(name, table.columns)}")
    which = time or _find_time(table, channels or ())
    wanted = [name for name in channels or table.columns if name != which]
    if rows * len(wanted) > _MOST_CELLS:
        raise InputError(
            f"{path} has {rows:,} rows of {len(wanted)} channels; at most {_MOST_CELLS:,} cells "
            "are read. Name fewer channels or split it by time."
        )
    values, left_out = {}, {}
    for name in wanted:
        found = _numbers(path, name, table, must=channels is not None)
        if isinstance(found, str):
            left_out[name] = found
        else:
            values[name] = found
    if not values:
        raise InputError(f"{path} has no column that holds numbers; its columns: {left_out}.")
    times, start = np.arange(1.0, rows + 1), None
    if which is not None:
        times, start = _times(path, which, table)
    steps = np.diff(times)
    in_order = not (steps < 0).any()
    if not in_order:
        order = np.argsort(times, kind="stable")
        times = times[order]
        values = {name: value[order] for name, value in values.items()}
        steps = np.diff(times)
    if start is not None:
        start += timedelta(seconds=float(times[0]))
        times = times - times[0]
    rising = steps[steps > 0]
    if not len(rising):
        raise InputError(f"{path}: column {which!r} gives every row the same time.")
    about = {
        **table.about,
        "rows": rows,
        "time": which,
        "start": None if start is None else start.isoformat(),
        "rows_were_in_order": in_order,
        "repeated_times": int((steps == 0).sum()),
        "gaps_in_time": int((steps > GAP * np.median(rising)).sum()),
        "channels": list(values),
        "left_out": left_out,
        "empty_cells": {n: c for n, v in values.items() if (c := int(np.isnan(v).sum()))},
    }
    return Series(times, values, start, which, float(np.median(rising)), about)


def _find_time(table: Table, channels: Sequence[str]) -> str | None:
    """The first column of clock times, or else of numbers under such a title."""
    types = arrow("types")
    free = [name for name in table.columns if name not in channels]
    for name in free:
        kind = table.columns[name].type
        if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
            return name
    for name in free:
        column = table.columns[name]
        if types.is_string(column.type) and _clocks(column.drop_null()[:100].to_pylist()):
            return name
    for name in free:
        title = name.split("[")[0].split("(")[0].strip().casefold()
        kind = table.columns[name].type
        if title in _TIMES and (types.is_integer(kind) or types.is_floating(kind)):
            return name
    return None


def _clocks(cells: Sequence[str]) -> bool:
    """Whether most cells are clock times; a slip among them is then told, not passed over."""
    return 2 * sum(map(_is_clock, cells)) > len(cells)


def _is_clock(cell: str) -> bool:
    try:
        datetime.fromisoformat(cell.strip())
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, table: Table, must: bool) -> NDArray[np.float64] | str:
    """(N,) float64 of a column, NaN where empty or not finite; or why it is no channel."""
    types, compute = arrow("types"), arrow("compute")
    column = table.columns[name]
    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    why = ""
    if types.is_null(kind) or column.null_count == len(column):
        why = "empty"
    elif types.is_string(kind) or types.is_large_string(kind):
        column, why = _from_text(path, name, column, table.decimal, must)
    elif types.is_boolean(kind):
        column = column.cast("int8")
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        why = f"no numbers ({kind})"
    if why:
        if must:
            raise InputError(f"{path}: column {name!r} cannot be a channel: {why}.")
        return why
    filled = compute.fill_null(column.cast("float64", safe=False), float("nan"))
    numbers = filled.to_numpy().astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return "empty" if not must and np.isnan(numbers).all() else numbers


def _from_text(path: Path, name: str, column: Any, decimal: str, must: bool) -> tuple[Any, str]:
    """A column of text as numbers; a text where most cells are numbers is a mistake in the file."""
    compute, pa = arrow("compute"), arrow()
    column = compute.utf8_trim_whitespace(column.cast("string"))
    missing = compute.is_in(column, value_set=pa.array(MISSING))
    column = compute.if_else(missing, pa.scalar(None, "string"), column)
    pattern = "^" + NUMBER.format("[.]" if decimal == "." else ",") + "$"
    reads = compute.match_substring_regex(column, pattern)
    texts = len(column) - column.null_count - (compute.sum(reads).as_py() or 0)
    if texts:
        if not must and texts > (len(column) - column.null_count) / 2:
            return column, "no numbers (text)"
        row = compute.index(reads, False).as_py()
        raise InputError(
            f"{path}: column {name!r} holds {column[row].as_py()!r} in row {row + 1} (titles not "
            f"counted); expected a number with decimal {'point' if decimal == '.' else 'comma'}. "
            "Correct or empty the cell, or leave the column out with channels."
        )
    if decimal == ",":
        column = compute.replace_substring(column, ",", ".")
    return column, ""


def _times(path: Path, name: str, table: Table) -> tuple[NDArray[np.float64], datetime | None]:
    """(N,) float64 times and, where they are clock times, the instant that they count from."""
    types, compute = arrow("types"), arrow("compute")
    column = table.columns[name]
    if column.null_count:
        row = compute.index(compute.is_null(column), True).as_py()
        raise InputError(
            f"{path}: the time in column {name!r} is empty in row {row + 1} (titles not counted). "
            "Fill it in or remove the row."
        )
    if types.is_timestamp(column.type) or types.is_date(column.type):
        zone = getattr(column.type, "tz", None)
        column = column.cast(arrow().timestamp("ns", tz=zone))
        first = column[0].cast(arrow().timestamp("us", tz=zone), safe=False).as_py()
        if zone and _is_clock(table.first.get(name, "")):
            # pyarrow turns every zone into UTC.
            first = first.astimezone(datetime.fromisoformat(table.first[name].strip()).tzinfo)
        nanoseconds = column.cast("int64").to_numpy()
        return (nanoseconds - nanoseconds[0]) / 1e9, first
    if types.is_time(column.type):
        unit = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
        return column.cast(f"int{column.type.bit_width}").cast("int64").to_numpy() / unit, None
    if types.is_string(column.type):
        cells = column.to_pylist()
        if _clocks(cells[:100]) or not is_number(cells[0].strip(), table.decimal):
            return _from_iso(path, name, cells)
    numbers = _numbers(path, name, table, must=True)
    assert not isinstance(numbers, str)
    if (bad := np.isnan(numbers)).any():
        raise InputError(
            f"{path}: the time in column {name!r} is no finite number in row {bad.argmax() + 1}."
        )
    return numbers, None


def _from_iso(path: Path, name: str, cells: Sequence[str]) -> tuple[NDArray[np.float64], datetime]:
    """ISO times in whatever zones: seconds since the first cell, and its clock."""
    seconds = np.empty(len(cells))
    first = None
    for row, cell in enumerate(cells):
        try:
            now = datetime.fromisoformat(cell.strip())
            first = first or now
            seconds[row] = (now - first).total_seconds()
        except (ValueError, TypeError):
            raise InputError(
                f"{path}: the time {cell!r} in column {name!r}, row {row + 1} (titles not "
                f"counted), cannot be read beside the first one, {cells[0]!r}. Expected ISO 8601, "
                "such as 2024-05-03T09:00:00, all with a time zone or all without; or numbers."
            ) from None
    assert first is not None
    return seconds, first
