"""`blemish calibrate`: move the operating point, without fitting anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_DETECTOR", help="Their folder.")],
    false_alarms: Annotated[
        float,
        typer.Option(help="Share of good parts that may be called anomalous, such as 0.02."),
    ],
) -> None:
    """Move the operating point of a finished run or a saved detector."""
    from blemish.runs import recalibrate

    for line in recalibrate.move(folder, false_alarms).lines():
        typer.echo(line)
