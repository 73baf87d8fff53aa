"""`blemish bench --maps`: the figures of maps that any other program wrote.

    DIR/<id without ending>.tiff, .npy or .png    one map a picture, of the picture's own size
    DIR/scores.csv                                "id,score"; without it, a map's maximum counts

The id of a picture is its path below the data set's folder; DIR/<category>/<id ...> is found too.
Where two pictures differ in nothing but their endings, the map keeps the picture's: `a.png.tiff`.
A PNG has 16 bits. Nothing is resized: a map of another size is refused, for its picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish import __version__
from blemish.benchmark import figures, folder
from blemish.benchmark.cell import Cell
from blemish.benchmark.folder import FIGURES, Means, Record
from blemish.benchmark.map_files import SCORES, Given, read_scores
from blemish.benchmark.plan import Plan
from blemish.datasets.model import Dataset
from blemish.errors import DatasetError
from blemish.runs import folder as run_folder
from blemish.runs.folder import Row
from blemish.runs.run import Progress

METRICS = (
    *("image_auroc", "image_ap", "image_f1_max"),
    *("pixel_auroc", "pixel_ap", "pixel_f1_max", "au_pro"),
)
"""What maps and scores define; sPRO too for MVTec LOCO."""
_STATED = ("eval_size", "mask_resize", "fpr_limit", "spro_limit", "connectivity")
"""Of what `figures` says of a cell, what holds for other programs' maps."""


def cells_of(
    dataset: Dataset, method: str, *, shots: int | None = 0, categories: Sequence[str] = ()
) -> tuple[Cell, ...]:
    """The cells that maps of a whole data set are scored as.

    Args:
        dataset: that the maps are of.
        method: what the table calls them; a published method's name puts its figures beside them.
        shots: normal references that the other program learnt from; None for all.
        categories: those to score; all that have labelled test pictures where empty.

    Raises:
        DatasetError: a category is not there.
    """
    known = {item.category for item in dataset.select(None, "test") if item.label}
    unknown = [name for name in categories if name not in known]
    if unknown or not known:
        raise DatasetError(
            f"{dataset.root} has no labelled test pictures of {', '.join(unknown) or 'anything'}; "
            f"it has those of {', '.join(sorted(known)) or 'no category'}."
        )
    return tuple(
        Cell(dataset.name, category, method, "maps", shots=shots)
        for category in sorted(known)
        if not categories or category in categories
    )


def plan_of(dataset: Dataset, cells: Sequence[Cell], au_pro_limit: float) -> Plan:
    """The cells as a plan of what maps and scores define."""
    metrics = (*METRICS, *(("spro",) if dataset.saturations else ()))
    title = f"{cells[0].method} on {dataset.name}"
    plan = Plan(None, title, tuple(cells), {dataset.name: dataset}, metrics)
    return replace(plan, au_pro_limit=au_pro_limit)


def score(
    dataset: Dataset,
    source: Path,
    cells: Sequence[Cell],
    out: Path,
    *,
    au_pro_limit: float = 0.3,
    command: str = "",
    on_progress: Progress = lambda done, total: None,
) -> list[Record]:
    """Score maps, and write a benchmark's folder.

    Args:
        dataset: that the maps are of.
        source: the folder of maps, as above.
        cells: what to score them as, see `cells_of`.
        out: the benchmark's folder; made where there is none, gone on with where there is one.
        au_pro_limit: false positive rate up to which AU-PRO is taken.
        command: what was typed.
        on_progress: called after each picture.

    Returns:
        What each cell's figures.json holds. A picture whose map is missing, of another size, not
        finite or not readable is named under "failed" and not scored.

    Raises:
        InputError: no picture of a cell has a map or score, or scores.csv cannot be used.
        OutputError: `out` holds another benchmark, or cannot be written.
    """
    plan = plan_of(dataset, cells, au_pro_limit)
    scores = read_scores(source / SCORES) if (source / SCORES).is_file() else None
    folder.begin(plan, out, Means(), command)
    records, done = [], 0
    total = sum(len(plan.items(cell)) for cell in cells)
    for cell in cells:
        given = Given(source, cell.category, plan.items(cell), scores)
        here = folder.cell_folder(out, cell)
        written: list[Row] = []
        with run_folder.opened(here):
            run_folder.write_record(here, _about(cell, given, command))
            for row in given.rows(here):
                written.append(row)
                done += 1
                on_progress(done, total)
            run_folder.write_rows(here, written)
        records.append(_figures(plan, cell, here, given, written))
        records[-1]["provenance"] |= {"command": command, "maps": str(source)}
        folder.write_json(here / FIGURES, records[-1])
    return records


def _figures(plan: Plan, cell: Cell, here: Path, given: Given, written: Sequence[Row]) -> Record:
    """What a cell's figures.json holds: of all figures those that maps and scores define."""
    folder.write_truth(here, given.items)
    by_id = {row["id"]: row for row in written}
    record = {"cell": cell.to_json(), **figures.of_cell(plan, cell, here, given.items, by_id)}
    for kind in ("figures", "undefined"):
        record[kind] = {name: v for name, v in record[kind].items() if name in plan.metrics}
    stated = {name: v for name, v in record["computed"].items() if name in _STATED}
    record["computed"] = {**stated, **given.computed}
    record["provenance"] = {"version": __version__, "weights": {}, "seed": cell.seed}
    return record


def _about(cell: Cell, given: Given, command: str) -> dict[str, Any]:
    """run.json of a run that another program did."""
    return {
        "command": command,
        "versions": {"blemish": __version__},
        "detector": {"name": cell.method, "options": dict(cell.options), "seed": cell.seed},
        "weights": {},
        "references": [],
        "calibration": None,
        "map_exponent": given.exponent,
        "class_name": cell.category,
    }
