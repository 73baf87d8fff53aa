"""`blemish datasets`: what data sets are known, what a folder holds, whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from blemish.datasets.check import Count, Report

app = typer.Typer(help="List known data sets, and check one on disk.", no_args_is_help=True)

SHOWN = 10
"""Problems of one sort up to which each gets a line."""

WORDS = {
    "missing": "Missing",
    "unpaired": "Unpaired",
    "unreadable": "Unreadable",
    "size": "Masks of another size",
    "count": "Other counts than published",
    "odd": "Contradictory",
}
EXIT_CODES = "Exit codes: 0 nothing is wrong, 2 no data set was found, 3 there are problems."


@app.command("list")
def list_() -> None:
    """List the data sets that are recognised, with their licences."""
    from blemish.datasets.published import table

    for row in table():
        typer.echo(f"{row.name}: {row.title}, licence: {row.licence}")
        if row.note:
            typer.echo(f"  {row.note}")


@app.command(epilog=EXIT_CODES, no_args_is_help=True)
def check(path: Annotated[Path, typer.Argument(help="The folder of a data set.")]) -> None:
    """Say what a folder holds, count it beside the published counts, and read every file."""
    from blemish.cli import screen
    from blemish.datasets.check import check as check_dataset

    with screen.progress("Reading") as update:
        report = check_dataset(path, update)
    console = screen.console()
    known = report.published
    console.print(f"{known.title} ({known.name}), licence: {known.licence}", markup=False)
    console.print(_table(report))
    if known.counts:
        console.print(f"Published: {known.source}.", markup=False)
    if report.absent:
        console.print(f"Not here: {', '.join(report.absent)}.", markup=False)
    for note in report.notes:
        console.print(note, markup=False)
    _tell(report)
    raise typer.Exit(3 if report.problems else 0)


@app.command(no_args_is_help=True)
def fetch(name: Annotated[str, typer.Argument(help="solar-cells: the one that is free.")]) -> None:
    """Fetch real pictures to try things on, into the cache, and say where they are."""
    from blemish.cli import screen
    from blemish.datasets import solar_cells
    from blemish.datasets.published import published
    from blemish.errors import OptionError

    if name != "solar-cells":
        raise OptionError(
            f"'{name}' cannot be fetched; solar-cells can, from the package index. Other sets come "
            "from their publishers, and are checked with `blemish datasets check`."
        )
    with screen.progress("Fetching solar cells", "B") as update:
        folder = solar_cells.fetch(update)
    typer.echo(f"{published(name).title}, licence: {published(name).licence}", err=True)
    typer.echo(folder)


def _table(report: Report) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("category", overflow="fold")
    table.add_column("split")
    numbers = ["normal", "anomalous", "masks"]
    secret = any(count.unlabelled for count in report.counts)
    for name in (*numbers, *(["no label"] * secret), "published"):
        table.add_column(name, justify="right")
    for count in report.counts:
        figures = [count.normal, count.anomalous, count.masks]
        figures += [count.unlabelled] * secret
        category = "all" if count.category == "*" else count.category
        table.add_row(category, count.split, *map(str, figures), _published(count))
    return table


def _published(count: Count) -> str:
    if count.published is None:
        return "-"
    return f"{count.published[0]} + {count.published[1]}"


def _tell(report: Report) -> None:
    """Print the problems, sort by sort; of many alike the first ones."""
    from blemish.cli import screen

    console = screen.console()
    if not report.problems:
        console.print("Nothing is missing, unpaired or unreadable.", style="green")
    for what, heading in WORDS.items():
        alike = [problem for problem in report.problems if problem.what == what]
        if alike:
            console.print(f"{heading}: {len(alike)}", style="bold yellow")
        for problem in alike[:SHOWN]:
            console.print(f"  {problem.where}: {problem.message}", markup=False, soft_wrap=True)
        if len(alike) > SHOWN:
            console.print(f"  and {len(alike) - SHOWN} more")
