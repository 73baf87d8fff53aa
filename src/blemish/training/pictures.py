"""A data set's good pictures to learn from, every second one with an anomaly put in.

Only normal training pictures are looked at, as AnomalyGPT (2308.15366, section 4) has it: what is
anomalous in the set, and its masks, stay unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from blemish.datasets import find
from blemish.datasets.folder import open_folder
from blemish.datasets.layout import folders
from blemish.datasets.layout import pictures as pictures_in
from blemish.datasets.model import Dataset, Item
from blemish.errors import DatasetError, InputError, OptionError, nearest
from blemish.images import resize
from blemish.prompts import anomalygpt as prompts
from blemish.synthesis._paste import Synthetic, checked
from blemish.synthesis.cutpaste import cutpaste
from blemish.synthesis.nsa import nsa, parameters
from blemish.training.curriculum import ABOUT
from blemish.types import Example, Failure, Image, Sample

Anomalies = Literal["nsa", "cutpaste", "both"]
SIDE = 448
"""Pixels of the shorter side that pictures are shrunk to, before an anomaly is put in."""

_NAMED = 20
"""Classes that a summary names."""


class Pictures:
    """Good pictures of a data set, one class or many, read when they are asked for.

    Pictures that cannot be used are left out and the next one takes their turn, so that a number
    gives the same example each time, whatever was asked for before.

    Args:
        data: a data set, or its folder in any layout that is known, or a plain folder of good
            pictures, whose class is called "object".
        seed: of the order and of all anomalies.
        anomalies: "nsa" (patches of another picture of the class, where there is one), "cutpaste"
            (of the same picture), or "both", each as often.
        descriptions: a file of image descriptions, see `blemish.prompts.anomalygpt.descriptions`.

    Attributes:
        name: of the data set; its folder's where it is none of those that are known.
        anomalies: as given.
        classes: what prompts call them, in alphabetical order.
        counts: pictures by class.
        descriptions: the user's own, by class.
        fingerprint: changes with the files, the seed and the sort of anomalies.

    Raises:
        DatasetError: no data set, or one without normal training pictures.
        OptionError: another sort of anomalies.
        InputError: the descriptions cannot be used.
    """

    def __init__(
        self,
        data: str | Path | Dataset,
        *,
        seed: int = 0,
        anomalies: Anomalies = "nsa",
        descriptions: str | Path | None = None,
    ) -> None:
        if anomalies not in get_args(Anomalies):
            hint = nearest(anomalies, get_args(Anomalies))
            raise OptionError(f"There are no anomalies of the sort {anomalies!r}. {hint}")
        dataset = data if isinstance(data, Dataset) else _opened(Path(data))
        self._set, self._seed, self.anomalies = dataset, seed, anomalies
        self._items = dataset.select(split="train", label="normal")
        if not self._items:
            raise DatasetError(
                f"{dataset.root} holds no normal training pictures, and only these are learnt "
                "from: anomalies are made up, those of the set and its masks stay unseen. Put "
                "good pictures into <category>/train/good."
            )
        self.name = dataset.root.resolve().name if dataset.name == "folder" else dataset.name
        self._names = {item.category: _name(dataset, item) for item in self._items}
        named = [self._names[item.category] for item in self._items]
        self.counts: Mapping[str, int] = {name: named.count(name) for name in sorted(set(named))}
        self.classes = tuple(self.counts)
        self.descriptions = prompts.descriptions(descriptions) if descriptions else {}
        self.fingerprint = self._digest()
        self._unused: dict[str, Failure] = {}
        self._order = lru_cache(maxsize=2)(self._drawn_order)

    def __len__(self) -> int:
        """Pictures of an epoch; those that turn out to be unusable are counted."""
        return len(self._items)

    @property
    def summary(self) -> str:
        """The data set's name, a colon, and what is learnt from it, for people."""
        shown = list(self.classes[:_NAMED])
        if len(self.classes) > _NAMED:
            shown.append(f"{len(self.classes) - _NAMED} other classes")
        return (
            f"{self.name}: {len(self)} good pictures ({', '.join(shown)}), every second one with "
            f"a made-up anomaly ({self.anomalies})"
        )

    @property
    def left_out(self) -> tuple[Failure, ...]:
        """What could not be used so far, and why, by the pictures' ids."""
        return tuple(self._unused[name] for name in sorted(self._unused))

    def example(self, number: int, bad: bool) -> Example:
        """The picture of a number, always the same for the same one.

        Numbers below `len` are each picture once, in an order drawn by the seed; so are those
        of each further epoch, in another order.

        Args:
            number: at least 0.
            bad: whether an anomaly is put in; its kind is "", since it has no name.

        Raises:
            DatasetError: not one picture of the set can be used.
        """
        epoch, turn = divmod(number, len(self))
        for step in range(len(self)):
            item = self._items[self._order(epoch)[(turn + step) % len(self)]]
            try:
                return self._example(item, np.random.default_rng([self._seed, number, 1]), bad)
            except InputError as error:
                self._unused[item.id] = Failure(item.id, type(error).__name__, str(error))
        first = self.left_out[0]
        raise DatasetError(
            f"Not one of the {len(self)} normal training pictures of {self._set.root} can be used. "
            f"{first.id}: {first.message}"
        )

    def asked(self, example: Example, random: np.random.Generator, about: str = "") -> prompts.QA:
        """A question about an example, and its answer.

        Args:
            example: as `example` gives it.
            random: draws wordings and, where it is not given, the topic.
            about: one of `blemish.prompts.anomalygpt.TOPICS`. What is in the picture is asked
                only where a description goes before; else it is whether there is an anomaly.
        """
        taught = {pair.about: pair for pair in prompts.pairs(example, random, self.descriptions)}
        drawn = str(random.choice(list(ABOUT), p=list(ABOUT.values())))
        return taught.get(about or drawn, taught["presence"])

    def _example(self, item: Item, random: np.random.Generator, bad: bool) -> Example:
        image, name = _small(item), self._names[item.category]
        if not bad:
            nothing = np.zeros(image.shape[:2], np.bool_)
            return Example(Sample(image, name, id=item.id), "normal", nothing)
        made = self._made(item, image, random)
        return Example(Sample(made.image, name, id=item.id), "anomalous", made.mask, "")

    def _made(self, item: Item, image: Image, random: np.random.Generator) -> Synthetic:
        how = parameters(self._set.name, item.category)
        if self.anomalies == "cutpaste" or (self.anomalies == "both" and random.random() < 0.5):
            return cutpaste(image, image, random, how)
        return nsa(image, self._source(item, random), random, how)

    def _source(self, item: Item, random: np.random.Generator) -> list[Image]:
        """Another picture of the class; none where there is none that can be used."""
        others = [i for i in self._items if i.category == item.category and i.id != item.id]
        for place in random.permutation(len(others)):
            try:
                return [_small(others[place])]
            except InputError as error:
                unused = Failure(others[place].id, type(error).__name__, str(error))
                self._unused[unused.id] = unused
        return []

    def _drawn_order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch, 0]).permutation(len(self))

    def _digest(self) -> str:
        """Of names and sizes: to read all pictures would take longer than to learn from some."""
        rows: list[Any] = [(i.id, i.path.stat().st_size) for i in self._items if i.path.exists()]
        own = sorted(self.descriptions.items())
        about = [self._set.name, rows, self._seed, self.anomalies, own]
        return hashlib.sha256(repr(about).encode()).hexdigest()[:16]


def _opened(root: Path) -> Dataset:
    """A data set of a known layout, or a folder that holds nothing but good pictures."""
    try:
        return find.open_dataset(root)
    except DatasetError:
        if folders(root) or not pictures_in(root):
            raise
    return open_folder(root, normal="*", train="*")


def _name(dataset: Dataset, item: Item) -> str:
    """What prompts call a category; a plain folder's name says nothing of its pictures."""
    plain = item.path.parent == dataset.root
    return "object" if plain else dataset.noun(item.category).name


def _small(item: Item) -> Image:
    """A picture, shrunk to what a model sees, since anomalies take time by the pixel.

    Raises:
        InputError: it cannot be read, or is too small for anomalies.
    """
    image = item.image()
    height, width = image.shape[:2]
    shrink = min(height, width) / SIDE
    if shrink > 1:
        image = resize(image, round(height / shrink), round(width / shrink))
    return checked(image, f"{item.id}, after shrinking,")
