"""Any tree of pictures by pattern, for a set whose layout nothing else knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blemish.datasets.layout import by_stem
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import NO_MASK, NO_PICTURE, Notes, assemble, below, drawn
from blemish.errors import DatasetError
from blemish.images import IMAGE_SUFFIXES

Patterns = str | Sequence[str]
_TRAINED = 64


def open_folder(
    root: str | Path,
    *,
    normal: Patterns,
    abnormal: Patterns = (),
    masks: Patterns = (),
    train: Patterns | None = None,
) -> Dataset:
    """A data set of one category, whose pictures are named by patterns.

    Patterns are those of `Path.glob`, relative to the root: "good/*.png", "**/ok_*.jpg". A mask
    has the stem of its picture, with or without "_mask" after it; of several such masks, the one
    in a folder named like the picture's belongs to it.

    Args:
        root: the folder.
        normal: of normal pictures.
        abnormal: of anomalous ones, whose folder's name is their kind.
        masks: of the masks of anomalous ones.
        train: of normal pictures for training; these are not tested. None draws 64 of `normal`,
            or half where there are fewer than 128, by the sha256 of "0:" and their id.

    Returns:
        The data set "folder"; its category is the folder's name.

    Raises:
        DatasetError: no such folder; a pattern is wrong, or none fits a picture; a picture is
            both normal and anomalous.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder. Check the path and its spelling.")
    notes = Notes(root)
    truths = _files(notes, masks)
    trained = frozenset(_files(notes, train or ()))
    good = sorted({*_files(notes, normal), *trained} - {*truths})
    bad = sorted({*_files(notes, abnormal)} - {*truths})
    if both := sorted({*good} & {*bad}):
        raise DatasetError(
            f"{len(both)} pictures fit the patterns of normal and of anomalous ones, such as "
            f"{below(root, both[0])}. Narrow one of the patterns."
        )
    if train is None:
        trained = drawn(good, min(_TRAINED, len(good) // 2), root)
    category = root.resolve().name
    items, anomalous = [], set(bad)
    for path, found in _paired(bad, good, truths, notes).items():
        item_id, kind = below(root, path), path.parent.name
        split: Split = "train" if path in trained else "test"
        if path in anomalous:
            items.append(Item(item_id, path, category, split, "anomalous", kind, found))
        else:
            items.append(Item(item_id, path, category, split, "normal", masks=found))
    return assemble("folder", notes, items)


def _files(notes: Notes, patterns: Patterns) -> list[Path]:
    """The pictures that fit any pattern; of several in one folder with one stem, none."""
    found: dict[Path, list[Path]] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            paths = [p for p in notes.root.glob(pattern) if p.suffix.lower() in IMAGE_SUFFIXES]
        except (ValueError, NotImplementedError) as error:
            raise DatasetError(
                f"The pattern {pattern!r} cannot be used ({error}); expected one relative to the "
                "folder, such as good/*.png or **/ok_*.jpg."
            ) from None
        if not paths:
            raise DatasetError(
                f"No picture below {notes.root} fits the pattern {pattern!r}. Correct it; ** "
                "stands for folders of any depth, such as **/good/*.png."
            )
        for path in paths:
            found.setdefault(path.parent, []).append(path)
    return sorted(
        path for inside in found.values() for path in notes.by_stem(sorted(set(inside))).values()
    )


def _paired(
    bad: Sequence[Path], good: Sequence[Path], masks: Sequence[Path], notes: Notes
) -> dict[Path, tuple[Path, ...]]:
    """Each picture's mask: the one of its stem, or of several the one in a folder of its kind.

    A normal picture has one in a folder of its kind or none.
    """
    stems, anomalous = by_stem(masks), set(bad)
    chosen: dict[Path, list[Path]] = {path: [] for path in masks}
    for picture in (*bad, *good):
        fitting = stems.get(picture.stem, []) + stems.get(f"{picture.stem}_mask", [])
        same_kind = [path for path in fitting if path.parent.name == picture.parent.name]
        fitting = same_kind or (fitting if picture in anomalous else [])
        if len(fitting) == 1:
            chosen[fitting[0]].append(picture)
        elif fitting:
            names = ", ".join(below(notes.root, path) for path in fitting)
            notes.add("odd", picture, f"Several masks fit: {names}. None was taken; keep one.")
        elif masks and picture in anomalous:
            notes.add("unpaired", picture, NO_MASK)
    paired: dict[Path, tuple[Path, ...]] = dict.fromkeys((*bad, *good), ())
    for mask, claimed in chosen.items():
        if len(claimed) == 1:
            paired[claimed[0]] = (mask,)
        elif claimed:
            names = ", ".join(below(notes.root, path) for path in claimed)
            notes.add("odd", mask, f"Several pictures claim this mask: {names}. None got it.")
        else:
            notes.add("unpaired", mask, NO_PICTURE)
    return paired
