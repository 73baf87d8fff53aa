"""VisA: as published, and as its own script reorganises it.

    <category>/Data/Images/{Normal/0000.JPG,Anomaly/000.JPG}
    <category>/Data/Masks/Anomaly/000.png      values are classes: above 0 is anomalous
    split_csv/1cls.csv                         object,split,label,image,mask

    [1cls/]<category>/{train/good,test/{good,bad}}/000.JPG
    [1cls/]<category>/ground_truth/bad/000.png

The published split is `split_csv/1cls.csv`. Without it, nine tenths of the normal pictures of each
category are for training, drawn by the sha256 of "0:" and their id: as many as published, but not
the same ones, and a problem says so.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from blemish.datasets.layout import Layout, folders, listed, pictures, read_text
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below, drawn
from blemish.datasets.tree import Tree, looks_like, read_tree
from blemish.errors import DatasetError

_CSV = "split_csv/1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")
_TREE = Tree("visa")


def _is_raw(root: Path) -> bool:
    return any((folder / "Data/Images/Normal").is_dir() for folder in folders(root))


def _read_raw(root: Path) -> Dataset:
    notes = Notes(root)
    here = [folder for folder in folders(root) if (folder / "Data/Images").is_dir()]
    if (root / _CSV).is_file():
        items = list(_as_listed(root / _CSV, {folder.name for folder in here}, notes))
        return assemble("visa", notes, items)
    notes.add(
        "missing",
        root / _CSV,
        "The published split. Without it the pictures are split another way, and figures cannot "
        "be compared with published ones. Copy split_csv from the data set's repository.",
    )
    return assemble("visa", notes, [item for folder in here for item in _as_found(folder, notes)])


def _as_listed(path: Path, here: set[str], notes: Notes) -> Iterator[Item]:
    """The items of the published split whose category is here."""
    table = csv.DictReader(read_text(path).splitlines())
    if missing := set(_COLUMNS) - set(table.fieldnames or ()):
        raise DatasetError(
            f"{path} has no column {', '.join(sorted(missing))}; expected {','.join(_COLUMNS)}. "
            "Copy it again from the data set's repository."
        )
    for row in table:
        if row["object"] not in here:
            continue
        picture = listed(notes.root, row["image"], path)
        if not picture.is_file():
            notes.add("missing", picture, f"Listed in {_CSV}, but not there. Unpack it again.")
            continue
        normal = row["label"] == "normal"
        masks: tuple[Path, ...] = ()
        if not normal:
            mask = listed(notes.root, row["mask"], path) if row["mask"] else None
            if mask and mask.is_file():
                masks = (mask,)
            else:
                notes.add("unpaired", picture, f"Its mask {row['mask']} is not there. Unpack it.")
        split: Split = "train" if row["split"] == "train" else "test"
        yield _item(notes.root, picture, row["object"], split, masks, normal=normal)


def _as_found(folder: Path, notes: Notes) -> Iterator[Item]:
    """The items of a category without a published split."""
    normal = notes.by_stem(pictures(folder / "Data/Images/Normal")).values()
    train = drawn(normal, round(0.9 * len(normal)), notes.root)
    for path in normal:
        split: Split = "train" if path in train else "test"
        yield _item(notes.root, path, folder.name, split, (), normal=True)
    found = notes.by_stem(pictures(folder / "Data/Images/Anomaly"))
    paired = notes.pair(found, notes.masks(pictures(folder / "Data/Masks/Anomaly")))
    for stem, path in found.items():
        yield _item(notes.root, path, folder.name, "test", paired[stem], normal=False)


def _item(
    root: Path, path: Path, category: str, split: Split, masks: tuple[Path, ...], *, normal: bool
) -> Item:
    if normal:
        return Item(below(root, path), path, category, split, "normal", "good", masks)
    return Item(below(root, path), path, category, split, "anomalous", "bad", masks)


def _inside(root: Path) -> Path:
    """The folder of the categories: the script puts them into one named after the split."""
    return root / "1cls" if (root / "1cls").is_dir() else root


RAW = Layout(
    "VisA, <category>/Data/Images/{Normal,Anomaly}",
    _is_raw,
    _read_raw,
)
REORGANISED = Layout(
    "VisA reorganised, [1cls/]<category>/{train/good,test/bad}",
    lambda root: looks_like(_inside(root), _TREE),
    lambda root: read_tree(_inside(root), _TREE),
)
