"""Runs as they were written, with their truth: single ones, and all cells of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from blemish.benchmark.folder import BENCH, FIGURES, FORMAT, TRUTH, read_json
from blemish.calibration import Calibration
from blemish.errors import ImageError, InputError, SavedError
from blemish.runs import folder as run_folder
from blemish.runs import pictures
from blemish.runs.folder import Row
from blemish.types import AnomalyMap


@dataclass(frozen=True, eq=False)
class Ran:
    """A run folder with its truth.

    Attributes:
        folder: where it lies.
        record: what run.json says.
        cell: what figures.json says of the cell; empty for a run outside of a benchmark.
        rows: of the pictures that were inspected, by id.
        failed: how many could not be.
        truth: lines of truth.jsonl by id; empty for a run outside of a benchmark.
    """

    folder: Path
    record: Mapping[str, Any]
    cell: Mapping[str, Any]
    rows: Mapping[str, Row]
    failed: int
    truth: Mapping[str, Mapping[str, Any]]

    @property
    def method(self) -> str:
        """What ran, in words."""
        detector = self.record.get("detector", {})
        return str(self.cell.get("method") or detector.get("name") or self.folder.name)

    @property
    def category(self) -> str:
        """Of the pictures; "" where it is not known."""
        return str(self.cell.get("category", ""))

    @property
    def calibration(self) -> Calibration | None:
        """The operating point, where the run has one."""
        values = self.record.get("calibration")
        return Calibration.from_json(values) if values else None

    @cached_property
    def has_verdicts(self) -> bool:
        """Whether any picture was decided on; maps of other programs come without verdicts."""
        return any(row["decided_by"] != "nothing" for row in self.rows.values())

    def label(self, item_id: str) -> str | None:
        """The truth of a picture: "normal", "anomalous", or None where it is not known."""
        known = self.truth.get(item_id, {}).get("label") or self.rows[item_id].get("label")
        return None if known is None else str(known)

    def heat(self, item_id: str) -> AnomalyMap | None:
        """The raw map of a picture, (h, w) float32, whole or small; None where none was kept."""
        name = self.rows[item_id].get("map")
        if name:
            try:
                found = pictures.read_maps(self.folder / name)[0]
            except (OSError, ValueError) as cause:
                raise ImageError(f"{self.folder / name} cannot be read ({cause}).") from cause
            # Maps of other programs are kept times a power of 2, see `map_files`.
            exponent = -self.record.get("map_exponent", 0)
            return np.asarray(np.ldexp(found, exponent), np.float32)
        return pictures.read_heat(self.folder, item_id)


def read(path: Path) -> list[Ran]:
    """The runs of a folder: itself, or the finished cells of a benchmark.

    Raises:
        InputError: it is neither.
        SavedError: it is of another version, or damaged.
    """
    if run_folder.is_run(path):
        return [_ran(path)]
    bench = read_json(path / BENCH)
    if bench is None:
        raise InputError(
            f"{path} is no run and no benchmark: it has neither {run_folder.RECORD} nor {BENCH}. "
            "Give a folder that blemish inspect or blemish bench wrote."
        )
    if bench.get("format") != FORMAT:
        raise SavedError(
            f"{path} has format {bench.get('format')}; this version of blemish reads {FORMAT}. "
            "Run the benchmark again."
        )
    cells = [path / "cells" / key for key in bench.get("cells", {})]
    found = [_ran(cell) for cell in cells if (cell / FIGURES).is_file()]
    if not found:
        raise InputError(f"No cell of {path} is done. Run its command again: it goes on.")
    return found


def _ran(path: Path) -> Ran:
    record = run_folder.read_record(path) or {}
    found, _ = run_folder.read_rows(path)
    cell = (read_json(path / FIGURES) or {}).get("cell", {})
    good = {row["id"]: row for row in found if "error" not in row}
    return Ran(path, record, cell, good, len(found) - len(good), _truth(path / TRUTH))


def _truth(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        lines: Sequence[dict[str, Any]] = [
            json.loads(line) for line in path.read_bytes().splitlines()
        ]
        return {line["id"]: line for line in lines}
    except (ValueError, KeyError, TypeError) as cause:
        raise SavedError(f"{path} is damaged ({cause}). Run the benchmark again.") from cause
