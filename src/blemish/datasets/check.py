"""Whether a data set on disk is whole: counted beside the published counts, and every file read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blemish.datasets.find import open_dataset
from blemish.datasets.model import Dataset, Item, Problem
from blemish.datasets.pairing import below
from blemish.datasets.published import PublishedSet, published
from blemish.errors import ImageError
from blemish.images import IMAGE_SUFFIXES, read_image, read_mask

Progress = Callable[[int, int], None]
"""Called with files read and files in all."""


@dataclass(frozen=True)
class Count:
    """How many pictures there are of one category and split.

    Attributes:
        category: "*" for all together.
        split: "all" for all together.
        normal: pictures.
        anomalous: pictures.
        unlabelled: pictures whose truth the set keeps secret.
        masks: anomalous pictures that have a mask.
        published: normal and anomalous pictures as published; None where unknown.
    """

    category: str
    split: str
    normal: int
    anomalous: int
    unlabelled: int
    masks: int
    published: tuple[int, int] | None


@dataclass(frozen=True)
class Report:
    """What a data set on disk is, and what is wrong with it.

    Attributes:
        dataset: what was found.
        published: what its publisher says.
        counts: by category and split.
        absent: published categories that are not here.
        notes: what is worth knowing and nothing wrong.
        problems: what is missing, unpaired, unreadable or contradicts.
    """

    dataset: Dataset
    published: PublishedSet
    counts: tuple[Count, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def check(path: str | Path, progress: Progress | None = None) -> Report:
    """Find out what a data set is, count it and read every picture and mask.

    Args:
        path: as for `find.open_dataset`.
        progress: called after each picture.

    Raises:
        DatasetError: nothing that blemish knows is there.
    """
    dataset = open_dataset(path)
    official = published(dataset.name)
    absent = tuple(sorted(set(official.categories) - set(dataset.categories)))
    counts = tuple(_counts(dataset, official, complete=not absent))
    problems, empty = _read_everything(dataset, progress)
    notes = [official.note] if official.note else []
    if empty:
        have = "picture has" if empty == 1 else "pictures have"
        notes.append(
            f"{empty} anomalous {have} an empty mask: to be left out of figures of pixels."
        )
    if unused := _unused(Path(path), dataset):
        are = "file in this folder is" if unused == 1 else "files in this folder are"
        notes.append(f"{unused} picture {are} not part of the data set.")
    return Report(
        dataset,
        official,
        counts,
        absent,
        tuple(notes),
        (*dataset.problems, *_miscounted(counts), *problems),
    )


def _counts(dataset: Dataset, official: PublishedSet, *, complete: bool) -> Iterator[Count]:
    """Rows for what is here, and for what is published of the categories that are here."""
    together = official.counts.get("*", {}) if complete else {}
    told_of = {category: official.counts.get(category, {}) for category in dataset.categories}
    if len(told_of) == 1:
        told_of = {category: told or together for category, told in told_of.items()}
    else:
        told_of["*"] = together
    for category, told in told_of.items():
        items = [item for item in dataset.items if category in ("*", item.category)]
        splits = ["train", "validation", "test"]
        here = [s for s in splits if s in told or any(item.split == s for item in items)]
        for split in (*here, *(["all"] if "all" in told else [])):
            chosen = [item for item in items if split in ("all", item.split)]
            yield Count(
                category,
                split,
                sum(item.label == "normal" for item in chosen),
                sum(item.label == "anomalous" for item in chosen),
                sum(item.label is None for item in chosen),
                sum(bool(item.masks) for item in chosen if item.label == "anomalous"),
                told.get(split),
            )


def _miscounted(counts: Iterable[Count]) -> Iterator[Problem]:
    for count in counts:
        if count.published in (None, (count.normal, count.anomalous)):
            continue
        normal, anomalous = count.published or (0, 0)
        what = "the set" if count.category == "*" else count.category
        where = "" if count.split == "all" else f" for {count.split}"
        yield Problem(
            "count",
            "." if count.category == "*" else count.category,
            f"{count.normal} normal and {count.anomalous} anomalous pictures of {what}{where}; "
            f"published are {normal} and {anomalous}. Unpack it again, or expect other figures.",
        )


def _read_everything(dataset: Dataset, progress: Progress | None) -> tuple[list[Problem], int]:
    """The problems found in the files, and how many anomalous pictures have empty masks."""
    problems: list[Problem] = []
    empty = 0
    for done, item in enumerate(dataset.items, 1):
        try:
            size = read_image(item.path).shape[:2]
        except ImageError as error:
            problems.append(Problem("unreadable", item.id, str(error)))
            size = None
        found, drawn = _read_masks(dataset.root, item, size)
        problems += found
        empty += item.label == "anomalous" and bool(item.masks) and not (found or drawn)
        if progress:
            progress(done, len(dataset.items))
    return problems, empty


def _read_masks(root: Path, item: Item, size: tuple[int, ...] | None) -> tuple[list[Problem], bool]:
    """The problems of a picture's masks, and whether any pixel is marked in them.

    Args:
        root: of the data set.
        item: whose masks.
        size: height and width of the picture; None where it could not be read.
    """
    problems, drawn = [], False
    for path in item.masks:
        where = below(root, path) if path.is_relative_to(root) else str(path)
        try:
            mask = read_mask(path)
        except ImageError as error:
            problems.append(Problem("unreadable", where, str(error)))
            continue
        drawn = drawn or bool(np.any(mask))
        if size is not None and mask.shape != size:
            message = (
                f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {item.id} "
                f"{size[1]} x {size[0]}. Replace the one that is wrong."
            )
            problems.append(Problem("size", where, message))
    if item.label == "normal" and drawn:
        message = "A normal picture whose mask marks pixels. One of both is wrong: look at it."
        problems.append(Problem("odd", item.id, message))
    return problems, drawn


def _unused(path: Path, dataset: Dataset) -> int:
    """How many picture files below a folder are neither picture nor truth of an item."""
    used = {os.path.abspath(file) for item in dataset.items for file in _files(item)}
    found = 0
    for folder, below_it, names in os.walk(os.path.abspath(path)):
        below_it[:] = [name for name in below_it if not name.startswith((".", "__MACOSX"))]
        found += sum(
            os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
            and not name.startswith(".")
            and os.path.join(folder, name) not in used
            for name in names
        )
    return found


def _files(item: Item) -> Iterator[Path]:
    yield item.path
    yield from item.masks
    yield from item.also.values()
