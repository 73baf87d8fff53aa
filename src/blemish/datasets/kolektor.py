"""KolektorSDD2: one surface, `{train,test}/10301.png` and its truth `10301_GT.png` beside it.

A picture is anomalous where its truth has any pixel above 0. Only the pixels tell, so this is the
one set whose masks are read when it is opened; its pictures are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from blemish.datasets.layout import Layout, pictures
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below
from blemish.errors import ImageError
from blemish.images import read_mask

_NAME = "kolektor-sdd2"
_SPLITS: tuple[Split, ...] = ("train", "test")


def _looks_like(root: Path) -> bool:
    return any(next((root / split).glob("*_GT.png"), None) is not None for split in _SPLITS)


def _read(root: Path) -> Dataset:
    notes = Notes(root)
    return assemble(_NAME, notes, [item for split in _SPLITS for item in _split(split, notes)])


def _split(split: Split, notes: Notes) -> Iterator[Item]:
    files = notes.by_stem(pictures(notes.root / split))
    truth = {stem: (path,) for stem, path in files.items() if stem.endswith("_GT")}
    found = {stem: path for stem, path in files.items() if stem not in truth}
    for stem, masks in notes.pair(found, truth, endings=("_GT",)).items():
        label = _label(masks, notes)
        kind = "bad" if label == "anomalous" else "good" if label else ""
        path = found[stem]
        yield Item(below(notes.root, path), path, _NAME, split, label, kind, masks)


def _label(masks: tuple[Path, ...], notes: Notes) -> Literal["normal", "anomalous"] | None:
    """None where the truth is missing or cannot be read."""
    try:
        drawn = [bool(read_mask(path).any()) for path in masks]
    except ImageError as error:
        notes.add("unreadable", masks[0], f"{error} Until then its picture has no label.")
        return None
    return None if not drawn else "anomalous" if any(drawn) else "normal"


LAYOUT = Layout("KolektorSDD2, {train,test}/*_GT.png", _looks_like, _read)
