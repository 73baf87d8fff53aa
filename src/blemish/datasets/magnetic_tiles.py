"""Magnetic tiles as their repository has them: `MT_<defect>/Imgs/x.jpg`, its mask `x.png` beside.

`MT_Free` holds the normal ones. The set has no split, so this one is fixed here: of the normal
tiles 80 are for testing, those with the lowest sha256 of "0:" and their id (a fifth of them where
there are fewer than 400), the others for training; all defective tiles are for testing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blemish.datasets.layout import Layout, folders, pictures
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below, drawn

_NAME = "magnetic-tiles"
_TESTED = 80


def _defects(root: Path) -> list[Path]:
    return [f for f in folders(root) if f.name.startswith("MT_") and (f / "Imgs").is_dir()]


def _read(root: Path) -> Dataset:
    notes = Notes(root)
    return assemble(_NAME, notes, [i for folder in _defects(root) for i in _kind(folder, notes)])


def _kind(folder: Path, notes: Notes) -> Iterator[Item]:
    files = pictures(folder / "Imgs")
    found = notes.by_stem(path for path in files if path.suffix.lower() != ".png")
    masks = notes.masks(path for path in files if path.suffix.lower() == ".png")
    normal = folder.name == "MT_Free"
    paired = notes.pair(found, masks, endings=("",), expected=not normal)
    tested = drawn(found.values(), min(_TESTED, len(found) // 5), notes.root)
    for stem, path in found.items():
        split: Split = "train" if normal and path not in tested else "test"
        item_id, masks_of = below(notes.root, path), paired[stem]
        if normal:
            yield Item(item_id, path, _NAME, split, "normal", "good", masks_of)
        else:
            kind = folder.name.removeprefix("MT_").lower()
            yield Item(item_id, path, _NAME, split, "anomalous", kind, masks_of)


LAYOUT = Layout("magnetic tiles, MT_*/Imgs", lambda root: bool(_defects(root)), _read)
