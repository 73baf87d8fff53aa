"""What the commands share in front of a person: consoles, a progress bar, colours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLOURS = {"anomalous": "bold red", "unsure": "yellow", "normal": "green", "failed": "magenta"}
_PATIENCE = 1.0
"""Seconds before a bar or line appears: what is done by then needs none."""


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def table(*columns: str, figures: Collection[str] = (), last: str = "") -> Table:
    """A table without lines.

    Args:
        columns: their headings.
        figures: which of them hold figures.
        last: heading of one more, whose texts take what room the others leave.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in figures else "left", no_wrap=True)
    if last:
        made.add_column(last, overflow="fold")
    return made


class Update(Protocol):
    """Moves a bar."""

    def __call__(self, done: int, total: int, text: str = ...) -> None:
        """Show how much is done, how much there is and, where it changes, what is being done."""


@contextlib.contextmanager
def progress(text: str, unit: str = "") -> Iterator[Update]:
    """A bar on stderr that vanishes at the end; it shows up only where a task takes its time.

    Yields:
        A function to call with how much is done and how much there is; `unit` "B" shows both as
        bytes. Until it is called, the bar moves to and fro.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "B" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    shown = console(stderr=True)
    bar = Progress(
        *columns,
        console=shown,
        transient=True,
        disable=not shown.is_terminal,
        speed_estimate_period=300,  # seconds; a step of a training may take many
    )
    task = bar.add_task(text, total=None)

    def update(done: int, total: int, text: str = text) -> None:
        bar.update(task, completed=done, total=total, description=text)

    with _after_patience(bar.start, bar.stop):
        yield update


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """A line on stderr that moves while something takes its time, and vanishes."""
    shown = console(stderr=True)
    status = shown.status(text)
    with _after_patience(status.start if shown.is_terminal else lambda: None, status.stop):
        yield


@contextlib.contextmanager
def _after_patience(start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(_PATIENCE, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        stop()
