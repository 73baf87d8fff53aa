"""`meta.json`, the file by which the field's programs exchange data sets.

    {"train": {"bottle": [{"img_path": "bottle/train/good/000.png", "mask_path": "",
                           "cls_name": "bottle", "specie_name": "good", "anomaly": 0}]},
     "test": {...}}

Paths are relative to the folder of the file, or absolute; `mask_path` is "" where there is no
mask (some programs name a folder instead). "val" and "valid" are read as "validation".
The file cannot say several masks of one picture, a picture of unknown label, nor further files of
it: `write` refuses the first two and leaves out the third.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from blemish.datasets.layout import Layout, read_text
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble
from blemish.errors import DatasetError, OutputError

NAME = "meta.json"

Meta = dict[str, dict[str, list[dict[str, str | int]]]]
"""Split to category to its pictures, as the file has them."""

_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class _Entry(BaseModel):
    """One picture of the file; what else a program wrote beside it is passed over."""

    img_path: str
    mask_path: str = ""
    cls_name: str
    specie_name: str = ""
    anomaly: Literal[0, 1]


_FILE = TypeAdapter(dict[str, dict[str, list[_Entry]]])


def looks_like(root: Path) -> bool:
    """Whether a folder holds the file."""
    return (root / NAME).is_file()


def read(root: Path) -> Dataset:
    """The data set that a folder's `meta.json` describes.

    Args:
        root: the folder that holds the file.

    Raises:
        DatasetError: the file cannot be read, or an entry is wrong; the message names it.
    """
    notes = Notes(root)
    items: dict[str, Item] = {}
    for where, split, category, entry in _entries(root / NAME):
        if entry.cls_name != category:
            raise DatasetError(
                f"{where} has the cls_name {entry.cls_name!r} but stands under {category!r}. "
                "Correct one of them."
            )
        item = _item(root, where, split, entry)
        if item.id in items:
            raise DatasetError(
                f"{where} names {entry.img_path!r}, as an entry before it does. Remove one."
            )
        items[item.id] = item
        for path in (item.path, *item.masks):
            if not path.is_file():
                # An absolute path may lie anywhere, so the entry is the place.
                message = f"{where} names {path}, which is not there. Copy it there."
                notes.add("missing", root / NAME, message)
    return assemble("meta-json", notes, items.values())


def write(dataset: Dataset, path: Path | None = None) -> Meta:
    """A data set as `meta.json` has it.

    Args:
        dataset: what to write.
        path: where to write it as well; it belongs into the data set's folder, to which its paths
            are relative.

    Returns:
        Split to category to pictures; "train" and "test" are always there.

    Raises:
        DatasetError: a picture that the file cannot describe; the message names it.
        OutputError: the file cannot be written.
    """
    meta: Meta = {"train": {}, "test": {}}
    for item in dataset.items:
        entries = meta.setdefault(item.split, {}).setdefault(item.category, [])
        entries.append(_entry(dataset.root, item))
    if path is not None:
        try:
            path.write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {error.strerror or error}. Check the folder and disk."
            ) from None
    return meta


def _entries(file: Path) -> Iterator[tuple[str, Split, str, _Entry]]:
    """Each entry with the words that name it in a message, its split and its category."""
    try:
        meta = _FILE.validate_json(read_text(file), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DatasetError(f"{_where(file, *first['loc'])}: {first['msg']}. {_EXPECTED}") from None
    for name, categories in meta.items():
        if name not in _SPLITS:
            raise DatasetError(f"{file} has the split {name!r}; expected {', '.join(_SPLITS)}.")
        for category, entries in categories.items():
            for number, entry in enumerate(entries):
                yield _where(file, name, category, number), _SPLITS[name], category, entry


_EXPECTED = (
    "Expected split to category to a list of entries with img_path, mask_path, cls_name, "
    "specie_name and anomaly (0 or 1)."
)


def _where(file: Path, *place: str | int) -> str:
    return " ".join([str(file), *(f"[{step!r}]" for step in place)])


def _item(root: Path, where: str, split: Split, entry: _Entry) -> Item:
    path, mask = _path(root, where, entry.img_path), _path(root, where, entry.mask_path)
    inside = path.is_relative_to(root)
    return Item(
        # Never absolute: an id becomes the name of files that a run writes.
        id=path.relative_to(root if inside else path.anchor).as_posix(),
        path=path,
        category=entry.cls_name,
        split=split,
        label="anomalous" if entry.anomaly else "normal",
        kind=(entry.specie_name or "anomaly") if entry.anomaly else "good",
        masks=() if mask.is_dir() else (mask,),
    )


def _path(root: Path, where: str, name: str) -> Path:
    path = Path(name.replace("\\", "/"))
    if ".." in path.parts:
        raise DatasetError(
            f"{where} names {name!r}; expected a path below {root}, or an absolute one. Correct it."
        )
    return root / path


def _entry(root: Path, item: Item) -> dict[str, str | int]:
    if item.label is None or len(item.masks) > 1:
        what = "has no label" if item.label is None else f"has {len(item.masks)} masks"
        raise DatasetError(
            f"{item.id} {what}, which meta.json cannot say: an entry has anomaly 0 or 1 and one "
            "mask. Leave it out of the data set, or join its masks into one file."
        )
    return {
        "img_path": _relative(root, item.path),
        "mask_path": _relative(root, item.masks[0]) if item.masks else "",
        "cls_name": item.category,
        "specie_name": item.kind,
        "anomaly": int(item.label == "anomalous"),
    }


def _relative(root: Path, path: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


LAYOUTS: tuple[Layout, ...] = (Layout(NAME, looks_like, read),)
"""To be tried after the known sets: their own folders often hold a `meta.json` as well."""
