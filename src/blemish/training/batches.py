"""What an adapter learns from a user's pictures: half of them good, half with made-up anomalies.

Every picture teaches the decoder by its mask. The language model is asked about most of them over
the decoder's own map (2308.15366, section 4), and now and then over a made-up map, or about other
things altogether (alternate training), so that it still reads few-shot maps and still talks.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blemish.detectors import _class_texts
from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_turn import Seen, squared
from blemish.detectors._encoded import encoded
from blemish.detectors._maps import finite
from blemish.images import read_image
from blemish.prompts import anomalygpt as prompts
from blemish.training.anomalygpt import Batch
from blemish.training.corpus import SIDE
from blemish.training.curriculum import EVERY, layered, made_up, plainly
from blemish.training.pictures import Pictures
from blemish.types import Encoder, Example, Image, Sample

_PLAIN = ("plain",)
_MADE_UP = ("plain", "made-up")
_USUAL = ("decoded", "decoded", "made-up", "plain")
_TALK = ("decoded", "made-up", "plain", "general")
"""What the questions of a batch are asked over, in equal shares: in both halves of the time in
which a new adapter learns where to look; from then on; and in every fourth batch of these. As in
`blemish.training.curriculum`, plain ones are never left out."""
_OVER = ("plain", "made-up")
"""Sorts of questions over made-up maps."""
_BEYOND = 0.3
"""Share of the general questions that ask what no map can tell."""


@dataclass(frozen=True)
class Course:
    """What the language model is shown in a stage of a training.

    Attributes:
        alone: before so many steps it is asked over made-up maps alone, and in the first half of
            these all plainly, with one anomaly at most: a new adapter learns where to look before
            anything else. The decoder learns from the pictures all along.
        maps: it is shown maps; else it is never asked over made-up ones.
        fused: the maps are those of each layer.
        before: steps of the stages before, whose pictures and anomalies do not come again.
    """

    alone: int = 0
    maps: bool = True
    fused: bool = False
    before: int = 0


class PictureBatches:
    """The batch of a step, by its number.

    Args:
        pictures: of the user.
        encoder: frozen.
        config: of the adapter: the decoder's layers, and what stands for a picture.
        size: pictures in a batch.
        seed: of wordings and made-up maps.
        dialogue: questions about other things, and their answers.
        course: what is shown.
    """

    def __init__(
        self,
        pictures: Pictures,
        encoder: Encoder,
        config: AdapterConfig,
        *,
        size: int = 16,
        seed: int = 0,
        dialogue: Sequence[prompts.Pair] = (),
        course: Course = Course(),
    ) -> None:
        self.pictures, self._course = pictures, course
        self._encoder, self._config, self._size, self._seed = encoder, config, size, seed
        self._texts = lru_cache(maxsize=_class_texts.KEPT)(self._texts_of)
        self._dialogue = tuple(dialogue) or prompts.dialogue()

    def during(self, course: Course) -> Self:
        """The batches of another stage."""
        other = copy(self)
        other._course = course
        return other

    def __call__(self, step: int) -> Batch:
        """Always the same for the same step."""
        number = self._course.before + step
        random = np.random.default_rng([self._seed, number])
        start = number * self._size
        shown = [self.example(start + place) for place in range(self._size)]
        sorts = random.permutation(np.resize(self._shares(step), self._size)).tolist()
        other: dict[int, Image] = {}
        maps, turns, answers = [], [], []
        for place, (example, sort) in enumerate(zip(shown, sorts, strict=True)):
            scores, mask = self._made_up(random, 1 if sort == "plain" else 3)
            if sort == "made-up":
                example = _over(mask, example.sample.class_name)
            if sort == "general":
                slots, answer, image = self._apart(example, random)
                other |= {} if image is None else {place: image}
            elif sort == "plain":
                slots, answer = plainly(random, prompts.marked(mask))
            else:
                slots, answer = self.asked(example, random)
            maps.append(torch.from_numpy(scores))
            turns.append(slots)
            answers.append(f" {answer}")
        tokens, texts, seen = self.seen([e.sample for e in shown], other)
        masks = np.stack([squared(mask_of(e).astype(np.float32), SIDE) > 0 for e in shown])
        return Batch(
            seen,
            torch.stack(maps),
            tuple(place if sort == "decoded" else -1 for place, sort in enumerate(sorts)),
            tuple(turns),
            tuple(answers),
            tokens,
            torch.from_numpy(masks),
            texts,
        )

    def example(self, number: int) -> Example:
        """The picture of a number; every second one has an anomaly."""
        return self.pictures.example(number, bad=number % 2 == 1)

    def asked(
        self, example: Example, random: np.random.Generator, about: str = ""
    ) -> tuple[prompts.Slots, str]:
        """A question about a picture, and its answer; about what is drawn where not given."""
        pair = self.pictures.asked(example, random, about)
        return prompts.prompt(pair.question, pair.description), pair.answer

    def seen(
        self, samples: Sequence[Sample], other: dict[int, Image] | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Seen]:
        """What the encoder gives of pictures and of their classes.

        Args:
            samples: N, of one picture each, of any sizes.
            other: of some, by their place, the picture that is to stand there instead.

        Returns:
            For each layer (N, h, w, C) on the largest sides of their grids, each place with the
            token nearest to it; (2 + n, D) of each one's class, none where the decoder learns its
            texts; and what stands for each picture, or for the other one.
        """
        images, layers = [sample.image for sample in samples], self._config.layers
        both = [*images, *(other or {}).values()]
        found = finite(self._encoder.encode(both, layers=layers, size=self._encoder.default_size))
        tokens = tuple(_joined([f.patches[k] for f in found[: len(images)]]) for k in layers)
        texts = [self._texts(sample.class_name) for sample in samples]
        for row, place in enumerate(other or {}, len(images)):
            images[place], found[place] = both[row], found[row]
        standing = encoded(self._config, self._encoder, images, found[: len(images)], texts)
        return tokens, tuple(one for one in texts if one is not None), standing

    def _texts_of(self, class_name: str) -> Tensor | None:
        known = _class_texts.kinds(self._encoder, class_name) if self._config.apg else None
        return _class_texts.texts(self._config, self._encoder, class_name, known)

    def _shares(self, step: int) -> tuple[str, ...]:
        """Sorts of questions in a batch."""
        usual = _TALK if (self._course.before + step) % EVERY == EVERY - 1 else _USUAL
        if not self._course.maps:
            return tuple("decoded" if sort in _OVER else sort for sort in usual)
        alone = _PLAIN if 2 * step < self._course.alone else _MADE_UP
        return alone if step < self._course.alone else usual

    def _made_up(
        self, random: np.random.Generator, most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self._course.fused:
            return layered(random, len(self._config.layers), most)
        return made_up(random, most)

    def _apart(
        self, example: Example, random: np.random.Generator
    ) -> tuple[prompts.Slots, str, Image | None]:
        """A question that no map answers, its answer, and the picture that it is about."""
        if random.random() < _BEYOND:
            return *self.asked(example, random, "beyond"), None
        pair = self._dialogue[int(random.integers(len(self._dialogue)))]
        image = read_image(pair.image) if pair.image else None
        return prompts.prompt(pair.question), pair.answer, image


def mask_of(example: Example) -> NDArray[np.bool_]:
    """(H, W) of one of `Pictures`, which all have one."""
    assert example.mask is not None
    return example.mask


def _over(mask: NDArray[np.bool_], class_name: str) -> Example:
    """What is true of a made-up map."""
    nothing = np.zeros((*mask.shape, 3), np.uint8)
    sample = Sample(nothing, class_name)
    return Example(sample, "anomalous" if mask.any() else "normal", mask, "")


def _joined(grids: Sequence[NDArray[np.float32]]) -> Tensor:
    """(N, h, w, C): tokens on grids of any shapes, the nearest one at each place of the largest."""
    height, width = (max(grid.shape[axis] for grid in grids) for axis in (0, 1))
    rows, columns = np.arange(height), np.arange(width)
    same = [g[rows * len(g) // height][:, columns * g.shape[1] // width] for g in grids]
    return torch.from_numpy(np.stack(same).astype(np.float32))
