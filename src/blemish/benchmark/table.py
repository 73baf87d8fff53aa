"""A paper's table beside ours: from the figures of cells to rows, files and a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from blemish.benchmark.averages import Cell, Corner, Row
from blemish.benchmark.protocol import Metric, Protocol
from blemish.datasets.published import published
from blemish.errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Table:
    """What `collect` makes.

    Attributes:
        rows: one figure each: data set by data set, method by method.
        cells: what they were made from.
        protocol: the document's table; None for a free combination.
    """

    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    protocol: Protocol | None = None

    @property
    def averaged(self) -> list[Row]:
        """The rows that are means over all seeds."""
        return [row for row in self.rows if row.seed is None]


def collect(cells: Sequence[Cell], protocol: Protocol | None) -> Table:
    """Average the figures of cells, and put the published ones beside them.

    Data sets of the protocol of which nothing ran are left out.

    Args:
        cells: what their figures.json hold, in any order.
        protocol: the document's table; None for a free combination.

    Raises:
        OptionError: two cells are of the same data, category, method, shots and seed.
    """
    _refuse_twins(cells)
    rows: list[Row] = []
    for data in _datasets(cells, protocol):
        here = [cell for cell in cells if cell["cell"]["data"] == data]
        categories = _categories(data, here, protocol)
        for method, shots in _methods(data, here, protocol):
            alike = [
                cell
                for cell in here
                if (cell["cell"]["method"], cell["cell"]["shots"]) == (method, shots)
            ]
            corner = Corner(data, method, shots, alike, categories, protocol)
            for metric in _metrics(cells, protocol):
                rows += corner.rows(metric)
    return Table(tuple(rows), tuple(cells), protocol)


def write(table: Table, out: Path) -> tuple[str, ...]:
    """Write table.md, table.csv, table.parquet, figures.json and plot.png.

    Returns:
        What was left out for want of an optional package, in words; table.md says it too.

    Raises:
        OutputError: the folder cannot be written.
    """
    from blemish.benchmark import table_files

    return table_files.write(table, out)


def show(table: Table, console: Console) -> None:
    """Print the means, and the categories where they are few."""
    from blemish.benchmark import table_screen

    table_screen.show(table, console)


def shots_order(shots: int | None) -> float:
    """What sorts shots: all training pictures come last."""
    return float("inf") if shots is None else shots


def shots_words(shots: int | None) -> str:
    """Shots for people.

    >>> shots_words(0), shots_words(1), shots_words(4), shots_words(None)
    ('0 shots', '1 shot', '4 shots', 'all normals')
    """
    return "all normals" if shots is None else f"{shots} shot{'s' * (shots != 1)}"


def _refuse_twins(cells: Sequence[Cell]) -> None:
    seen = set()
    for about in (cell["cell"] for cell in cells):
        key = tuple(about[name] for name in ("data", "category", "method", "shots", "seed"))
        if key in seen:
            raise OptionError(
                f"Two cells came for {', '.join(map(str, key))} (data set, category, method, shots "
                "and seed); a table takes one of each. Remove one of their folders."
            )
        seen.add(key)


def _datasets(cells: Sequence[Cell], protocol: Protocol | None) -> list[str]:
    ran = list(dict.fromkeys(cell["cell"]["data"] for cell in cells))
    first = [name for name in protocol.data if name in ran or not ran] if protocol else []
    return first + [name for name in ran if name not in first]


def _methods(
    data: str, cells: Sequence[Cell], protocol: Protocol | None
) -> list[tuple[str, int | None]]:
    """Method and shots, in the protocol's order, then what else ran."""
    found = {(cell["cell"]["method"], cell["cell"]["shots"]) for cell in cells}
    names = sorted({method for method, _ in found})
    if protocol:
        found |= {(one.method, one.shots) for one in protocol.published if one.data == data}
        names = [run.method for run in protocol.runs] + names
    return sorted(found, key=lambda one: (names.index(one[0]), shots_order(one[1])))


def _categories(data: str, cells: Sequence[Cell], protocol: Protocol | None) -> tuple[str, ...]:
    """The categories that a mean should be of: the document's, where there is one."""
    ran = {cell["cell"]["category"] for cell in cells}
    known: tuple[str, ...] = ()
    if protocol:
        known = protocol.categories.get(data, ()) or published(data).categories
    return (*known, *sorted(ran - {*known}))


def _metrics(cells: Sequence[Cell], protocol: Protocol | None) -> list[str]:
    if protocol:
        return list(protocol.metrics)
    found = {name for cell in cells for name in (*cell["figures"], *cell.get("undefined", {}))}
    known: list[str] = [name for name in get_args(Metric) if name in found]
    return known + sorted(found - {*known})
