"""One threshold for all categories of a set, which is known once all of them are done."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from blemish.benchmark import figures, folder, thresholds
from blemish.benchmark.cell import Cell
from blemish.benchmark.folder import FIGURES, Record
from blemish.benchmark.judged import Judged
from blemish.benchmark.plan import Plan
from blemish.runs import folder as run_folder


def unify(plan: Plan, out: Path, records: Sequence[Record]) -> None:
    """Find the one threshold of all categories, and write the figures of verdicts that follow."""
    groups: defaultdict[str, list[tuple[Cell, Record]]] = defaultdict(list)
    for cell, record in zip(plan.cells, records, strict=True):
        if cell.threshold == "unified":
            groups[_every_category(cell)].append((cell, record))
    for members in groups.values():
        judged = [_judged_again(plan, out, *member) for member in members]
        scored = [found for each in judged if (found := each.scored("raw_score"))[0]]
        if not scored:
            continue
        threshold = thresholds.best(scored)
        for (cell, record), each in zip(members, judged, strict=True):
            figures.decide(record, each, threshold)
            folder.write_json(folder.cell_folder(out, cell) / FIGURES, record)


def _judged_again(plan: Plan, out: Path, cell: Cell, record: Record) -> Judged:
    """The rows that count, without another look at their maps."""
    rows = {row["id"]: row for row in run_folder.read_rows(folder.cell_folder(out, cell))[0]}
    failed = {note["id"] for note in record["failed"]}
    counted = [item for item in plan.items(cell) if item.id not in failed]
    return Judged([(item, rows[item.id]) for item in counted])


def _every_category(cell: Cell) -> str:
    """The same for cells that differ in their category only."""
    about = {name: value for name, value in cell.to_json().items() if name != "category"}
    return json.dumps(about, sort_keys=True, default=str)
