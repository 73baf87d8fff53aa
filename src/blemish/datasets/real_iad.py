"""Real-IAD: thirty categories, each part photographed from five sides.

    realiad_{1024,512,256}/<category>/{OK,NG/<defect>}/S0001/<category>_0001_OK_C1_<time>.jpg
    realiad_jsons/[realiad_jsons/]<category>.json

The JSON files hold the split: `{"meta": {"prefix", "normal_class"}, "train": [...], "test": [...]}`
with `category`, `anomaly_class`, `image_path` and `mask_path` per picture. Of several sizes the
largest is read. The views of one part share `Item.part`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from blemish.datasets.layout import Layout, folders, listed, read_text
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below
from blemish.errors import DatasetError

_SIZES = ("realiad_1024", "realiad_512", "realiad_256")
_LISTS = ("realiad_jsons/realiad_jsons", "realiad_jsons")


def _pictures(root: Path) -> Path | None:
    return next((root / size for size in _SIZES if (root / size).is_dir()), None)


def _lists(root: Path) -> list[Path]:
    """The JSON files of the usual split, one for each category."""
    return next((found for name in _LISTS if (found := sorted((root / name).glob("*.json")))), [])


def _looks_like(root: Path) -> bool:
    return _pictures(root) is not None


def _read(root: Path) -> Dataset:
    images, lists, notes = _pictures(root), _lists(root), Notes(root)
    if images is None or not lists:
        raise DatasetError(
            f"{root} holds Real-IAD's pictures, but not the JSON files with its split. Unpack "
            "realiad_jsons beside them."
        )
    here = {folder.name for folder in folders(images)}
    items = [item for path in lists if path.stem in here for item in _category(images, path, notes)]
    for category in sorted(here - {path.stem for path in lists}):
        notes.add("missing", images / category, f"No JSON file lists it. Unpack {category}.json.")
    return assemble("real-iad", notes, items)


def _category(images: Path, path: Path, notes: Notes) -> Iterator[Item]:
    try:
        content = json.loads(read_text(path))
        folder = listed(images, content["meta"].get("prefix") or path.stem, path)
        normal = content["meta"]["normal_class"]
        splits: tuple[Split, ...] = ("train", "test")
        rows = [(split, row) for split in splits for row in content[split]]
        for split, row in rows:
            item = _item(folder, split, row, normal, path, notes)
            if item is not None:
                yield item
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} is not as Real-IAD publishes it ({error!r}); expected meta, train and test "
            "with category, anomaly_class, image_path and mask_path. Unpack it again."
        ) from error


def _item(
    folder: Path, split: Split, row: Mapping[str, Any], normal: str, path: Path, notes: Notes
) -> Item | None:
    picture = listed(folder, row["image_path"], path)
    if not picture.is_file():
        notes.add("missing", picture, f"Listed in {path.name}, but not there. Unpack it again.")
        return None
    good = row["anomaly_class"] == normal
    masks: tuple[Path, ...] = ()
    if not good:
        mask = listed(folder, row["mask_path"], path) if row.get("mask_path") else None
        if mask and mask.is_file():
            masks = (mask,)
        else:
            notes.add("unpaired", picture, f"Its mask {row.get('mask_path')} is not there.")
    label: Literal["normal", "anomalous"] = "normal" if good else "anomalous"
    kind = "good" if good else row["anomaly_class"]
    part = below(notes.root, picture.parent)
    return Item(
        below(notes.root, picture), picture, row["category"], split, label, kind, masks, part
    )


LAYOUT = Layout("Real-IAD, realiad_{256,512,1024} and realiad_jsons", _looks_like, _read)
