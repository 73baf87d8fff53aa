"""A benchmark's folder: its files, and what of an earlier start may be gone on with.

bench.json          the plan, the version and the command
cells/<key>/        a run folder a cell (see blemish.runs.folder), and beside its files
    truth.jsonl     one line a picture: id, path, label, kind, masks, part
    figures.json    the cell's figures; written last, so that a cell that has it is done
perturbed/          changed copies of test pictures
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blemish import __version__
from blemish.benchmark.cell import Cell
from blemish.benchmark.plan import Plan
from blemish.datasets.model import Item
from blemish.errors import OutputError, SavedError
from blemish.runs.folder import MAPS, RECORD, ROWS, replace_file, writing
from blemish.types import ChatModel, Encoder

FORMAT = 1
"""Of bench.json and figures.json."""
BENCH, FIGURES, TRUTH = "bench.json", "figures.json", "truth.jsonl"

Record = dict[str, Any]
"""What a figures.json holds."""


@dataclass(frozen=True)
class Means:
    """What cells are run with.

    Attributes:
        device: as `blemish.build.load` takes it.
        dtype: as `blemish.build.load` takes it.
        encoders: ready encoders by name, in place of the registry's.
        segmenters: ready segmenters by name, in place of those that would be loaded.
        language_model: that detectors ask which take one; one for all cells, since they share its
            budget, its limits and its kept replies.
    """

    device: str = "auto"
    dtype: str = "auto"
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    segmenters: Mapping[str, Any] = field(default_factory=dict)
    language_model: ChatModel | None = None


def cell_folder(out: Path, cell: Cell) -> Path:
    """Where a cell's run lies."""
    return out / "cells" / cell.key


def begin(plan: Plan, out: Path, means: Means, command: str) -> None:
    """Write bench.json; where there is one, refuse to mix what cannot stand in one table.

    Raises:
        SavedError: `out` was written by another version, or is damaged.
        OutputError: `out` holds other runs, or cannot be written.
    """
    cells = {cell.key: cell.to_json() for cell in plan.cells}
    about = {
        "protocol": plan.protocol,
        "device": means.device,
        "dtype": means.dtype,
        "language_model": _model(plan, means),
        "data": {name: str(dataset.root.resolve()) for name, dataset in plan.datasets.items()},
    }
    known = read_json(out / BENCH)
    if known is not None:
        if (known.get("format"), known.get("version")) != (FORMAT, __version__):
            raise SavedError(
                f"{out} was begun by blemish {known.get('version')} (format "
                f"{known.get('format')}); this is {__version__} (format {FORMAT}), whose figures "
                "cannot stand in one table with those. Choose another folder (--out), or delete it."
            )
        for name, value in about.items():
            if known.get(name) != value:
                raise OutputError(
                    f"{out} holds a benchmark with {name} {known.get(name)}; this one has {value}. "
                    "Choose another folder (--out), or delete it."
                )
        for key, cell in known["cells"].items():
            if cells.setdefault(key, cell) != cell and (out / "cells" / key).exists():
                raise OutputError(
                    f"{out / 'cells' / key} holds {cell['method']} with other options or another "
                    "rule. Choose another folder (--out), or delete it."
                )
    elif out.is_dir() and any(out.iterdir()):
        raise OutputError(
            f"{out} is not empty, but has no {BENCH} that says of what benchmark. Choose a new or "
            "empty folder."
        )
    record = {
        "format": FORMAT,
        "version": __version__,
        "command": command,
        "title": plan.title,
        **about,
        "cells": cells,
    }
    write_json(out / BENCH, record)


def _model(plan: Plan, means: Means) -> str | None:
    """The language model by name and fingerprint, where one is asked."""
    model = means.language_model
    return f"{model.name} ({model.fingerprint})" if model and plan.asks else None


def read_json(path: Path) -> Record | None:
    """A JSON object, or None where there is no such file. Raises SavedError if it is damaged."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as cause:
        raise SavedError(
            f"{path} cannot be read ({cause}). Delete it, and run the same command again."
        ) from cause
    if not isinstance(found, dict):
        raise SavedError(f"{path} holds no JSON object. Delete it, and run the command again.")
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object as a whole or not at all."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")


def write_truth(folder: Path, items: Sequence[Item]) -> None:
    """Write truth.jsonl: what `blemish compare` and other programs hold a run against."""
    lines = [
        {
            "id": item.id,
            "path": str(item.path),
            "label": item.label,
            "kind": item.kind,
            "masks": [str(mask) for mask in item.masks],
            "part": item.part,
        }
        for item in items
    ]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / TRUTH, "".join(json.dumps(line) + "\n" for line in lines).encode())


def share(done: Path, folder: Path) -> None:
    """Make a run folder that holds what another one does; maps are links where that works."""
    unfinished = folder.with_name(f".{folder.name}.new")
    with writing(folder):
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / MAPS).mkdir(parents=True)
        for name in (RECORD, ROWS):
            shutil.copy2(done / name, unfinished / name)
        for path in done.glob(f"{MAPS}/*"):
            _link(path, unfinished / MAPS / path.name)
        os.replace(unfinished, folder)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
