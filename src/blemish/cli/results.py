"""What `blemish inspect` prints at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blemish.cli import screen

if TYPE_CHECKING:
    from rich.table import Table

    from blemish.runs.run import RunSummary

MOST = 40
"""Pictures up to which each gets a line; of more, only the most anomalous do."""


def show(summary: RunSummary) -> None:
    """Print a table, failures, totals and where the report lies."""
    console = screen.console()
    good = [row for row in summary.rows if "error" not in row]
    if len(good) > MOST:
        good = sorted(good, key=lambda row: -(row["score"] or 0))[: MOST // 2]
    if good:
        console.print(_table(good))
    left = len(summary.rows) - summary.counts["failed"] - len(good)
    if left:
        console.print(f"and {left} with lower scores; the report has them all")
    show_failures(summary)
    console.print(_totals(summary))
    console.print(f"Report: {summary.report}", markup=False, soft_wrap=True)


def show_failures(summary: RunSummary) -> None:
    """Print, to stderr, why each picture that could not be inspected was not, and why a run ended.

    What went wrong in the same way with several is said once.
    """
    errors = screen.console(stderr=True)
    why: dict[str, list[str]] = {}
    for row in summary.rows:
        if "error" in row:
            why.setdefault(row["message"], []).append(row["id"])
    for message, ids in why.items():
        if len(ids) > 1:
            whose = f"{len(ids)} files, such as {ids[0]}: "
        else:
            whose = "" if ids[0].rpartition("/")[2] in message else f"{ids[0]}: "
        errors.print(f"blemish: {whose}{message}", style="magenta", markup=False, soft_wrap=True)
    if summary.stopped:
        text = f"blemish: {summary.stopped} What was done is kept; the same command goes on."
        errors.print(text, style="bold red", markup=False, soft_wrap=True)


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    if any(row["reason"] for row in rows):
        table.add_column("reason")
    for row in rows:
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        verdict = Text(row["verdict"], screen.COLOURS[row["verdict"]])
        cells = [Text(row["id"]), verdict, Text(score), Text(_where(row))]
        table.add_row(*cells, *([Text(row["reason"])] * (len(table.columns) > 4)))
    return table


def _where(row: dict[str, Any]) -> str:
    """Where in a recording; else the positions of the regions, most anomalous first, each once."""
    if "where" in row:
        return str(row["where"])
    places = list(dict.fromkeys(region["position"] for region in row["regions"]))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more


def _totals(summary: RunSummary) -> str:
    from blemish.runs.report import spent
    from blemish.runs.rows import usage
    from blemish.runs.sources import called

    counts = {name: n for name, n in summary.counts.items() if n}
    total = len(summary.rows)
    text = f"{called(total, [row.get('modality') for row in summary.rows])}: " + ", ".join(
        f"[{screen.COLOURS[name]}]{n} {name}[/]" for name, n in counts.items()
    )
    new = total - summary.kept
    if summary.kept:
        text += f"; {summary.kept} from an earlier start"
    if new:
        text += f"; {summary.seconds:.1f} s, {summary.seconds / new:.2f} s each"
        text += f" for {new} new" if summary.kept else ""
    used = usage(summary.rows)
    return f"{text}; {spent(used)}" if used["model_calls"] else text
