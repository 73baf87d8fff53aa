"""`blemish figure`: pictures, their truth and each method's map, as a grid for a paper."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Per(StrEnum):
    """What a row is for."""

    category = "category"
    kind = "kind"


def figure(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs or benchmarks.")],
    out: Annotated[Path, typer.Option(help="The PNG to write, 17 cm wide.")],
    per: Annotated[Per, typer.Option(help="What a row is for; a kind is a defect.")] = Per.category,
    count: Annotated[int, typer.Option(help="Pictures of each: the first anomalous by id.")] = 1,
    images: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A picture to draw; repeatable.")
    ] = None,
) -> None:
    """Draw a grid of pictures, their truth and one map a method, on one fixed scale."""
    from blemish.benchmark.figure import figure as draw
    from blemish.cli import screen

    with screen.waiting("Drawing"):
        shown = draw(runs, out, per=per.value, count=count, images=images or ())
    for name in shown:
        typer.echo(name)
    typer.echo(f"Picture: {out}")
