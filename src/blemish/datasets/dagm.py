"""DAGM 2007: `Class1/{Train,Test}/0001.PNG`, and `Label/0001_label.PNG` inside for each defect.

A picture is anomalous where it has a label file. The training halves hold defects too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from blemish.datasets.layout import Layout, folders, pictures
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below

_CLASS = re.compile(r"Class\d+")
_SPLITS: dict[str, Split] = {"Train": "train", "Test": "test"}


def _classes(root: Path) -> list[Path]:
    return [
        folder
        for folder in folders(root)
        if _CLASS.fullmatch(folder.name) and any((folder / name).is_dir() for name in _SPLITS)
    ]


def _read(root: Path) -> Dataset:
    notes = Notes(root)
    items = [
        item
        for folder in _classes(root)
        for name, split in _SPLITS.items()
        for item in _half(folder, folder / name, split, notes)
    ]
    return assemble("dagm", notes, items)


def _half(folder: Path, place: Path, split: Split, notes: Notes) -> Iterator[Item]:
    found = notes.by_stem(pictures(place))
    truth = notes.masks(pictures(place / "Label"))
    for stem, masks in notes.pair(found, truth, endings=("_label",), expected=False).items():
        label: Literal["normal", "anomalous"] = "anomalous" if masks else "normal"
        kind, path = "bad" if masks else "good", found[stem]
        yield Item(below(notes.root, path), path, folder.name, split, label, kind, masks)


LAYOUT = Layout("DAGM 2007, Class*/{Train,Test}", lambda root: bool(_classes(root)), _read)
