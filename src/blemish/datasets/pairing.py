"""Pictures meet their masks by name, never by sorted position; what finds no partner is noted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from blemish.datasets.layout import by_stem
from blemish.datasets.model import Dataset, Item, Problem
from blemish.errors import DatasetError


class Notes:
    """Collects the problems of one data set while it is looked at.

    Attributes:
        root: the data set's folder, to which places are relative.
        problems: so far.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []

    def add(
        self, what: Literal["missing", "unpaired", "unreadable", "odd"], path: Path, message: str
    ) -> None:
        """Note one problem."""
        self.problems.append(Problem(what, below(self.root, path), message))

    def by_stem(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Files by stem; where several share one, none is taken and the problem is noted."""
        found = {}
        for stem, same in by_stem(paths).items():
            if len(same) == 1:
                found[stem] = same[0]
                continue
            names = ", ".join(path.name for path in same)
            self.add(
                "odd",
                same[0].parent / stem,
                f"{len(same)} files share this name: {names}. Which one is meant cannot be told, "
                "so none was taken; keep one.",
            )
        return found

    def masks(self, paths: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
        """Mask files by stem, for pictures that have one mask each."""
        return {stem: (path,) for stem, path in self.by_stem(paths).items()}

    def pair(
        self,
        pictures: Mapping[str, Path],
        masks: Mapping[str, tuple[Path, ...]],
        *,
        endings: Sequence[str] = ("_mask", ""),
        expected: bool = True,
    ) -> dict[str, tuple[Path, ...]]:
        """The masks of each picture.

        Args:
            pictures: by stem.
            masks: one or more that belong to one picture, by stem.
            endings: what may follow a picture's stem in its mask's.
            expected: whether a picture without a mask is worth a note.

        Returns:
            By the picture's stem, its masks; none where there are none. Where two stems would fit,
            none, and a note.
        """
        paired: dict[str, tuple[Path, ...]] = {}
        used = set()
        for stem, picture in pictures.items():
            fitting = [stem + ending for ending in endings if stem + ending in masks]
            used.update(fitting)
            paired[stem] = masks[fitting[0]] if len(fitting) == 1 else ()
            if len(fitting) > 1:
                names = " and ".join(masks[name][0].name for name in fitting)
                self.add("odd", picture, f"Two masks fit, {names}; none was taken. Keep one.")
            elif not fitting and expected:
                self.add("unpaired", picture, NO_MASK)
        for stem in sorted(set(masks) - used):
            self.add("unpaired", masks[stem][0], NO_PICTURE)
        return paired


NO_MASK = (
    "An anomalous picture without a mask: it counts for the picture's figures and is left out of "
    "the pixels'. Bring its mask, under the picture's name."
)
NO_PICTURE = "A mask without its picture. Bring the picture, under the same name, or remove it."


def below(root: Path, path: Path) -> str:
    """A path below a root, with "/" between folders."""
    return path.relative_to(root).as_posix()


def assemble(name: str, notes: Notes, items: Iterable[Item], **more: Any) -> Dataset:
    """The data set of these items, in the order of their ids.

    Args:
        name: a row of `published.json`.
        notes: its root and the problems noted.
        items: in any order.
        **more: further fields of `Dataset`.

    Raises:
        DatasetError: there is no item.
    """
    ordered = tuple(sorted(items, key=lambda item: item.id))
    if not ordered:
        raise DatasetError(
            f"{notes.root} is laid out like {name}, but no picture was found where its pictures "
            "belong. Was it unpacked completely?"
        )
    masks = any(item.masks for item in ordered)
    return Dataset(name, notes.root, ordered, pixels=masks, problems=tuple(notes.problems), **more)


def drawn(paths: Iterable[Path], count: int, root: Path) -> frozenset[Path]:
    """A fixed choice of files, the same on every machine, for sets that publish no split.

    Files are ranked by the sha256 of "0:" and their id; the first `count` are drawn.
    """
    ranked = sorted(
        paths, key=lambda path: hashlib.sha256(f"0:{below(root, path)}".encode()).hexdigest()
    )
    return frozenset(ranked[:count])
