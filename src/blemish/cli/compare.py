"""`blemish compare`: whether two runs over the same pictures differ, and on which pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run, or a benchmark's folder.")],
    b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another over the same pictures.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for compare.html, with the pictures, and compare.json."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare two runs: figures with an interval, and the pictures that changed sides."""
    from blemish.benchmark import compare as comparing
    from blemish.benchmark import compare_page
    from blemish.cli import screen

    with screen.waiting("Comparing"):
        found = comparing.compare(a, b, seed=seed)
        if out:
            compare_page.write(found, out)
    console = screen.console()
    console.print(f"A: {found.a}", markup=False, soft_wrap=True)
    console.print(f"B: {found.b}", markup=False, soft_wrap=True)
    if found.differences:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for place, name in enumerate(("", "A", "B", "B - A", "95 % interval")):
            table.add_column(name, justify="right" if place else "left", no_wrap=bool(place))
        for one in found.differences:
            table.add_row(*compare_page.words(one))
        console.print(table)
    for why in found.undefined:
        console.print(f"Not defined: {why}.", markup=False)
    said = f"{compare_page.compared(found)}; {_counted(found.counts)}."
    console.print(said, markup=False, soft_wrap=True)
    if found.left_out:
        left = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
        console.print(f"Left out: {left}.", markup=False)
    if out:
        console.print(f"Page: {out / 'compare.html'}", markup=False, soft_wrap=True)


def _counted(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    if not total:
        return "no verdict changed"
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{total} verdict{'s' * (total != 1)} changed: {said}"
