"""The bridge to anomalib: any of its models under our data sets, draws and figures.

anomalib runs in a Python environment of its own, since it pins other versions of nearly all that
blemish uses. A job goes there as a file; maps and scores come back as files, which are scored like
those of any other program. Options are the model's; "trainer" among them goes to Lightning's
trainer, such as {"trainer": {"max_epochs": 70}}.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from blemish.benchmark import folder, maps
from blemish.benchmark._anomalib_runner import NO_ANOMALIB
from blemish.benchmark.cell import Cell
from blemish.benchmark.folder import FIGURES, Means, Record
from blemish.benchmark.map_files import names
from blemish.datasets.model import Dataset
from blemish.errors import InputError, MissingExtraError, OptionError
from blemish.runs.folder import writing

BATCH = 32
"""Pictures that a model is trained on at a time; anomalib's own default."""


def cells_of(
    dataset: Dataset,
    model: str,
    *,
    shots: Sequence[int | None] = (None,),
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    categories: Sequence[str] = (),
) -> tuple[Cell, ...]:
    """The cells of an anomalib model.

    Args:
        dataset: to run it on.
        model: as anomalib calls it, such as "patchcore".
        shots: numbers of normal references; None for all training pictures.
        seeds: of the draws, and of everything random in the model.
        options: of the model.
        categories: those to run; all that have labelled test pictures where empty.
    """
    method = f"anomalib {model}"
    every = maps.cells_of(dataset, method, categories=categories)
    return tuple(
        Cell(dataset.name, cell.category, method, f"anomalib:{model}", dict(options or {}), n, seed)
        for cell in every
        for n in shots
        for seed in seeds
    )


def run(
    dataset: Dataset,
    cells: Sequence[Cell],
    out: Path,
    *,
    python: Path,
    au_pro_limit: float = 0.3,
    command: str = "",
) -> list[Record]:
    """Run cells through anomalib and score what comes back.

    Args:
        dataset: to run on.
        cells: see `cells_of`.
        out: the benchmark's folder; jobs and maps go to `anomalib/` in it. A job that is done is
            not done again.
        python: of the environment that has anomalib.
        au_pro_limit: false positive rate up to which AU-PRO is taken.
        command: what was typed.

    Returns:
        What each cell's figures.json holds.

    Raises:
        MissingExtraError: that environment has no anomalib.
        OptionError: there is no such Python.
        InputError: anomalib failed; its last words are in the message.
    """
    folder.begin(maps.plan_of(dataset, cells, au_pro_limit), out, Means(), command)
    records = []
    for cell in cells:
        work = out / "anomalib" / cell.key
        job = job_of(dataset, cell, work)
        if folder.read_json(work / "done.json") != job:
            _send(job, work, python)
        about = folder.read_json(work / "about.json") or {}
        (record,) = maps.score(
            dataset, work, [cell], out, au_pro_limit=au_pro_limit, command=command
        )
        folder.write_json(work / "done.json", job)
        record["computed"]["map_resize"] = about.get("map_resize", "not stated")
        record["provenance"] |= {
            "references": [item.id for item in _references(dataset, cell)],
            "anomalib": about.get("versions", {}),
            "seconds": about.get("seconds", {}),
        }
        folder.write_json(folder.cell_folder(out, cell) / FIGURES, record)
        records.append(record)
    return records


def job_of(dataset: Dataset, cell: Cell, work: Path) -> dict[str, Any]:
    """What the runner is told: paths are absolute, and maps are named as `maps` looks for them."""
    items = [item for item in dataset.select(cell.category, "test") if item.label]
    called = names(items)
    return {
        "model": cell.detector.partition(":")[2],
        "options": dict(cell.options),
        "seed": cell.seed,
        "category": dataset.noun(cell.category).name,
        "batch_size": BATCH,
        "train": [str(item.path.resolve()) for item in _references(dataset, cell)],
        "test": [
            {"id": item.id, "path": str(item.path.resolve()), "map": called[item.id]}
            for item in items
        ],
        "out": str(work.resolve()),
    }


def _references(dataset: Dataset, cell: Cell) -> Sequence[Any]:
    if cell.shots is None:
        return dataset.select(cell.category, "train", "normal")
    return dataset.references(cell.category, cell.shots, cell.seed)


def _send(job: Mapping[str, Any], work: Path, python: Path) -> None:
    """Let the other environment do a job."""
    folder.write_json(work / "job.json", job)
    log = work / "log.txt"
    runner = files("blemish.benchmark") / "_anomalib_runner.py"
    with writing(work), as_file(runner) as script, log.open("wb") as said:
        try:
            # -I: the runner's folder and PYTHONPATH belong to this environment, not to that one.
            done = subprocess.run(
                [str(python), "-I", str(script), str(work / "job.json")],
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as cause:
            raise OptionError(
                f"{python} cannot be started ({cause.strerror}). Give the Python of the "
                "environment that has anomalib, such as ~/anomalib/bin/python."
            ) from cause
    if done.returncode == NO_ANOMALIB:
        raise MissingExtraError(
            f'{python} has no anomalib that can be imported: {python} -m pip install "anomalib>=2"'
        )
    if done.returncode:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise InputError(
            f"anomalib ended with code {done.returncode}: {' / '.join(last) or 'it said nothing'}. "
            f"All it said is in {log}."
        )
