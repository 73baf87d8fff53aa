"""What a data set on disk is: files with their truth, and no pixel until one is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from blemish import classes
from blemish.errors import DatasetError, ReferencesError
from blemish.images import read_image, read_mask
from blemish.types import Domain, Example, Image, Mask, Sample

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Item:
    """One picture of a data set: where it lies, and what is known of it.

    Attributes:
        id: its path below the data set's root, with "/" between folders; unique in the set.
        path: the picture's file.
        category: the part, such as "bottle".
        split: "train", "validation" or "test".
        label: "normal", "anomalous", or None where the set keeps it secret.
        kind: the defect's name as the set has it; "good" for a normal part.
        masks: files of its truth in pixels: none, one, or (MVTec LOCO) one per defect. A pixel is
            anomalous where any of them is above 0.
        part: what joins several pictures of one part (Real-IAD's views); "" for none.
        also: further files of the same picture by name, such as "xyz" of MVTec 3D-AD.
    """

    id: str
    path: Path
    category: str
    split: Split
    label: Literal["normal", "anomalous"] | None
    kind: str = "good"
    masks: tuple[Path, ...] = ()
    part: str = ""
    also: Mapping[str, Path] = field(default_factory=dict, hash=False)

    def image(self) -> Image:
        """(H, W, 3) uint8 RGB. Raises ImageError where the file cannot be read."""
        return read_image(self.path)

    def mask(self, image: Image) -> Mask | None:
        """The truth of the picture's pixels.

        Args:
            image: (H, W, 3) uint8 RGB, what `image` gave.

        Returns:
            (H, W) bool, True where anomalous; all False for a normal part; None where unknown.

        Raises:
            ImageError: a mask cannot be read.
            DatasetError: a mask has another size than the picture.
        """
        if self.label is None or (self.label == "anomalous" and not self.masks):
            return None
        height, width = image.shape[:2]
        total = np.zeros((height, width), np.bool_)
        if self.label == "normal":
            return total
        for path in self.masks:
            drawn = read_mask(path)
            if drawn.shape != total.shape:
                raise DatasetError(
                    f"The mask {path} has {drawn.shape[1]} x {drawn.shape[0]} pixels, its picture "
                    f"{self.path} has {width} x {height}. Replace the one that is wrong; a mask "
                    "is never resized, since that moves every figure."
                )
            total |= drawn > 0
        return total

    def sample(self, class_name: str = "object", domain: Domain = "industrial") -> Sample:
        """The picture as a sample. Raises ImageError where it cannot be read."""
        return Sample(self.image(), class_name, domain=domain, id=self.id)


@dataclass(frozen=True)
class Saturation:
    """When a defect of MVTec LOCO counts as found (its sPRO): at so much of its area.

    Attributes:
        name: the defect's.
        threshold: a share of the area where `relative`, else pixels.
        relative: which of both.
    """

    name: str
    threshold: float
    relative: bool


@dataclass(frozen=True)
class Problem:
    """Something about a data set on disk that a person should know.

    Attributes:
        what: "missing", "unpaired", "unreadable", "size", "count" or "odd".
        where: the path below the root.
        message: what came, what was expected and what to do.
    """

    what: Literal["missing", "unpaired", "unreadable", "size", "count", "odd"]
    where: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """A data set on disk.

    Attributes:
        name: which one, such as "mvtec-ad"; a row of `datasets/published.json`.
        root: its folder.
        items: every picture, in the order of their ids.
        domain: of its pictures.
        pixels: whether it has masks at all.
        problems: what was noticed while looking; no picture has been read for it.
        saturations: of MVTec LOCO: category to the mask's pixel value to `Saturation`.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    domain: Domain = "industrial"
    pixels: bool = True
    problems: tuple[Problem, ...] = ()
    saturations: Mapping[str, Mapping[int, Saturation]] = field(default_factory=dict)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted({item.category for item in self.items}))

    def select(
        self, category: str | None = None, split: Split | None = None, label: str | None = None
    ) -> tuple[Item, ...]:
        """The items of one category, split and label; None takes all."""
        return tuple(
            item
            for item in self.items
            if category in (None, item.category)
            and split in (None, item.split)
            and label in (None, item.label)
        )

    def limited(self, count: int) -> Dataset:
        """The same set with at most so many test pictures of each category and label.

        Chosen as `references` draws, with the seed 0, so that a smaller choice is part of a larger
        one: for a first look, or where every picture costs money.

        Args:
            count: at least 1.
        """
        kept: dict[tuple[str, str | None], int] = {}
        left_out = set()
        for item in sorted(self.select(split="test"), key=lambda item: _rank(0, item)):
            key = (item.category, item.label)
            kept[key] = kept.get(key, 0) + 1
            if kept[key] > count:
                left_out.add(item.id)
        return replace(self, items=tuple(i for i in self.items if i.id not in left_out))

    def noun(self, category: str) -> classes.Noun:
        """What a prompt calls a category."""
        return classes.noun(self.name, category)

    def references(self, category: str, shots: int, seed: int) -> tuple[Item, ...]:
        """Normal training pictures, drawn by the seed.

        The same seed draws the same files on every machine and from every layout of a set, and
        the first of a longer draw are those of a shorter one: files are ranked by the sha256 of
        "seed:category/name", the name without its ending, which asks nothing of a random
        generator's version.

        Args:
            category: of the part.
            shots: how many; 0 gives none.
            seed: of the draw.

        Raises:
            ReferencesError: fewer normal training pictures than shots.
        """
        pool = self.select(category, "train", "normal")
        if shots > len(pool):
            raise ReferencesError(
                f"{self.name} has {len(pool)} normal training pictures of {category} in "
                f"{self.root}; {shots} were asked for. Take fewer shots, or complete the folder."
            )
        return tuple(sorted(pool, key=lambda item: _rank(seed, item))[:shots])


def _rank(seed: int, item: Item) -> tuple[str, str]:
    name = f"{seed}:{item.category}/{item.path.stem}"
    return hashlib.sha256(name.encode()).hexdigest(), item.id


def example(item: Item, noun: classes.Noun, domain: Domain = "industrial") -> Example:
    """The picture with its truth. Raises ImageError, or DatasetError where it has no label."""
    if item.label is None:
        raise DatasetError(f"{item.id} has no label that could be told: its set keeps it secret.")
    sample = item.sample(noun.name, domain)
    return Example(sample, item.label, item.mask(sample.image), item.kind)
