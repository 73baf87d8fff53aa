"""The tree of MVTec AD and of the many sets that follow it: what differs is data, a `Tree`.

    <category>/train/good/000.png
    <category>/test/<good or a defect>/000.png
    <category>/ground_truth/<defect>/000_mask.png

A folder that has `train/good` directly inside is a set of one category, named like the folder.
Masks are found by the picture's name, with or without `_mask` after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from blemish.datasets.layout import folders, pictures
from blemish.datasets.model import Dataset, Item, Split
from blemish.datasets.pairing import Notes, assemble, below
from blemish.datasets.published import published

_SPLITS: Mapping[str, Split] = {"train": "train", "test": "test"}


@dataclass(frozen=True)
class Tree:
    """How a set's tree differs from MVTec AD's.

    Attributes:
        name: of the set.
        good: the folder of normal parts.
        splits: folder of a category to split.
        pictures: where in `<split>/<kind>` the pictures are; "" for directly inside.
        masks: where in a category a kind's masks are, with `{split}` and `{kind}`.
        mask_folders: whether a picture has a folder of masks, one per defect.
        also: of each picture's further files: name to folder in `<split>/<kind>` and ending.
        signs: names in a category that tell the set, one is enough; none where the names of its
            categories tell it.
        secret: folders of a category whose pictures' truth is not published; it is their kind.
    """

    name: str
    good: str = "good"
    splits: Mapping[str, Split] = field(default_factory=lambda: _SPLITS)
    pictures: str = ""
    masks: str = "ground_truth/{kind}"
    mask_folders: bool = False
    also: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    signs: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()


def is_category(folder: Path, tree: Tree) -> bool:
    """Whether a folder holds normal parts where the tree has them."""
    return any((folder / split / tree.good / tree.pictures).is_dir() for split in tree.splits)


def categories(root: Path, tree: Tree) -> list[Path]:
    """The category folders: the root itself, or those below it, one without good parts included.

    Empty where no folder at all has good parts.
    """
    if is_category(root, tree):
        return [root]
    below_root = folders(root)
    if not any(is_category(folder, tree) for folder in below_root):
        return []
    return [f for f in below_root if any((f / split).is_dir() for split in tree.splits)]


def looks_like(root: Path, tree: Tree) -> bool:
    """Whether a folder is this set, by its signs or by the names of its categories.

    Some of a set's categories are enough.
    """
    found = categories(root, tree)
    if tree.signs:
        return any((folder / sign).exists() for folder in found for sign in tree.signs)
    names = {folder.resolve().name for folder in found}
    return bool(names) and names <= set(published(tree.name).categories)


def read_tree(root: Path, tree: Tree) -> Dataset:
    """The data set of a tree.

    One category of a published set keeps the ids that it has in the whole set, so that the same
    seed draws the same references from both.

    Args:
        root: a folder for which `categories` finds some.
        tree: what it looks like.

    Raises:
        DatasetError: no picture is where the tree has them.
    """
    found = categories(root, tree)
    if found == [root] and tree.name != "folder":
        root = Path(os.path.abspath(root)).parent
        found = [root / os.path.basename(os.path.abspath(found[0]))]
    reader = _Reader(root, tree)
    return assemble(tree.name, reader.notes, [i for f in found for i in reader.category(f)])


class _Reader:
    """Reads the categories of one tree and notes what is odd in them."""

    def __init__(self, root: Path, tree: Tree) -> None:
        self.tree = tree
        self.notes = Notes(root)

    def category(self, folder: Path) -> Iterator[Item]:
        tree = self.tree
        for name, split in tree.splits.items():
            if split != "validation" and not pictures(folder / name / tree.good / tree.pictures):
                loss = "nothing can be learned of it" if split == "train" else "no AUROC is defined"
                self.notes.add(
                    "missing",
                    folder / name / tree.good,
                    f"The category has no normal pictures here, so {loss}. Unpack it again, or "
                    f"put good parts into a folder named {tree.good!r}.",
                )
            for kind in self._kinds(folder, name, split):
                yield from self._kind(folder, name, split, kind)
        for name in tree.secret:
            for path in self.notes.by_stem(pictures(folder / name)).values():
                item_id, category = below(self.notes.root, path), folder.resolve().name
                yield Item(item_id, path, category, "test", None, name)

    def _kinds(self, folder: Path, name: str, split: Split) -> list[str]:
        """The folders of a split, and those that only have masks."""
        truth = folder / self.tree.masks.split("{")[0] if split == "test" else None
        found = {path.name for path in folders(folder / name)}
        if truth is not None and truth != folder:
            found |= {path.name for path in folders(truth)}
        return sorted(found)

    def _kind(self, folder: Path, name: str, split: Split, kind: str) -> Iterator[Item]:
        tree, place = self.tree, folder / name / kind
        found = self.notes.by_stem(pictures(place / tree.pictures))
        label: Literal["normal", "anomalous"] = "normal" if kind == tree.good else "anomalous"
        masks: dict[str, tuple[Path, ...]] = {}
        if split == "test" or "{split}" in tree.masks:
            truth = folder / tree.masks.format(split=name, kind=kind)
            masks = self._masks(truth, found, expected=label == "anomalous")
        for stem, path in found.items():
            yield Item(
                below(self.notes.root, path),
                path,
                folder.resolve().name,
                split,
                label,
                "good" if label == "normal" else kind,
                masks.get(stem, ()),
                also=self._also(place, stem),
            )

    def _masks(
        self, truth: Path, found: Mapping[str, Path], *, expected: bool
    ) -> dict[str, tuple[Path, ...]]:
        """The masks of each picture of a kind, by its stem."""
        if self.tree.mask_folders:
            masks = {path.name: tuple(pictures(path)) for path in folders(truth)}
            masks = {stem: inside for stem, inside in masks.items() if inside}
        else:
            masks = self.notes.masks(pictures(truth))
        if found and expected and not masks:
            self.notes.add(
                "missing",
                truth,
                f"None of {len(found)} anomalous pictures has a mask; they count for the "
                "pictures' figures only. Unpack the masks into this folder.",
            )
            return {}
        endings = ("",) if self.tree.mask_folders else ("_mask", "")
        return self.notes.pair(found, masks, endings=endings, expected=expected)

    def _also(self, place: Path, stem: str) -> dict[str, Path]:
        """Further files of a picture; each that is missing is noted."""
        found = {}
        for name, (folder, ending) in self.tree.also.items():
            path = place / folder / f"{stem}{ending}"
            if path.is_file():
                found[name] = path
            else:
                self.notes.add("missing", path, f"The picture's {name} file. Unpack it again.")
        return found
