"""Fine-tuning a vision-language model on a data set's good pictures (future work of 2311.02612).

It learns from the questions and answers that AnomalyGPT learns from, over pictures of which every
second one has a made-up anomaly. Every fourth batch is about other things, without a picture of the
set, so that it keeps answering those (alternate training).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from blemish.errors import OutputError
from blemish.images import read_image
from blemish.prompts import anomalygpt as prompts
from blemish.runs.folder import writing
from blemish.training import card, checkpoint, log, loop, sheets
from blemish.training.batches import mask_of
from blemish.training.curriculum import EVERY
from blemish.training.pictures import Pictures
from blemish.training.settings import TrainSettings
from blemish.types import Example, Message

CONFIG = "adapter_config.json"
"""Of an adapter in peft's format."""
WORK = "training"
"""Folder inside the adapter's that holds where the training stands."""
RATE, EPOCHS, BATCH = 1e-4, 10, 8
"""A tenth of AnomalyGPT's published rate, which is for new layers: these change trained ones."""
Batch = tuple[list[list[Message]], list[str]]


class Tuned(loop.Trainable, Protocol):
    """What `blemish.llms.tuning.Tuning` is.

    Attributes:
        base: the model that learns.
        rank: of the change to its weights.
        chat: the same model, to be asked.
    """

    base: str
    rank: int
    chat: Any

    def write(self, folder: Path) -> None:
        """Write what was learnt."""


class Batches:
    """The batch of a number, always the same for the same one.

    Args:
        pictures: to ask about.
        size: conversations in a batch.
        seed: of the questions.
        dialogue: questions about other things, and their answers.
    """

    def __init__(
        self, pictures: Pictures, size: int, *, seed: int = 0, dialogue: Sequence[prompts.Pair] = ()
    ) -> None:
        self.pictures, self._size, self._seed = pictures, size, seed
        self._dialogue = tuple(dialogue) or prompts.dialogue()

    def __call__(self, number: int) -> Batch:
        """Conversations that hold equally many pictures, and the answer to each."""
        random = np.random.default_rng([self._seed, number])
        if number % EVERY == EVERY - 1:
            return self._talk(random)
        first = (number - number // EVERY) * self._size
        shown = [self.example(first + place) for place in range(self._size)]
        made = [self.asked(example, random) for example in shown]
        return [[message] for message, _ in made], [answer for _, answer in made]

    def example(self, number: int) -> Example:
        """The picture of a number; every second one has an anomaly."""
        return self.pictures.example(number, bad=number % 2 == 1)

    def asked(
        self, example: Example, random: np.random.Generator, about: str = ""
    ) -> tuple[Message, str]:
        """A question about a picture, and its answer; about what is drawn where not given."""
        pair = self.pictures.asked(example, random, about)
        text = f"{pair.description} {pair.question}".strip()
        return Message("user", text, (example.sample.image,)), pair.answer

    def _talk(self, random: np.random.Generator) -> Batch:
        """Pairs with a picture of their own, or pairs without one; a batch cannot mix them."""
        pictured = self._dialogue[random.integers(len(self._dialogue))].image is not None
        alike = [pair for pair in self._dialogue if (pair.image is not None) == pictured]
        drawn = [alike[place] for place in random.integers(len(alike), size=self._size)]
        shown = [() if pair.image is None else (read_image(pair.image),) for pair in drawn]
        return (
            [[Message("user", p.question, i)] for p, i in zip(drawn, shown, strict=True)],
            [pair.answer for pair in drawn],
        )


def steps(pictures: int, epochs: float, batch: int) -> int:
    """Steps in which so many pictures are seen so many times; every fourth batch shows none.

    >>> steps(90, 10, 8)
    150
    """
    return max(1, math.ceil(pictures * epochs * EVERY / (EVERY - 1) / batch))


def settings(
    length: int, *, rate: float | None, accumulate: int, seed: int, minutes: float | None
) -> TrainSettings:
    """How to train; without weight decay, which would pull the change towards none.

    Args:
        length: steps.
        rate: the highest; None for what suits.
        accumulate: batches a step.
        seed: of everything random.
        minutes: see `TrainSettings`.
    """
    return TrainSettings(
        steps=length,
        rate=rate or RATE,
        optimizer="adamw",
        weight_decay=0,
        accumulate=accumulate,
        seed=seed,
        minutes=minutes,
        every=min(20, max(1, length // 10)),
    )


def sample(folder: Path, step: int, model: Tuned, batches: Batches) -> None:
    """Write a sheet of parts, their masks and what the model says of them.

    Raises:
        OutputError: it cannot be written.
    """
    random = np.random.default_rng(0)
    examples = [batches.example(number) for number in range(sheets.SHOWN)]
    asked = [batches.asked(example, random, "presence") for example in examples]
    said = model.chat.chat_batch([[message] for message, _ in asked])
    rows = [
        (
            [example.sample.image, sheets.grey(mask_of(example))],
            [message.text, right, reply.text],
        )
        for example, (message, right), reply in zip(examples, asked, said, strict=True)
    ]
    sheets.write(folder, step, rows)


def check_out(out: Path) -> None:
    """Raise OutputError where a folder holds an adapter that no training in it wrote."""
    if (out / CONFIG).exists() and not (out / WORK / checkpoint.FILE).exists():
        raise OutputError(
            f"{out} holds an adapter, but not where its training stood. Choose a new folder with "
            f"--out; to train that adapter further, name it with --llm local:{out}."
        )


def write(
    out: Path, model: Tuned, pictures: Pictures, settings: TrainSettings, command: str
) -> None:
    """Write the adapter as far as it has learnt, and its card.

    Raises:
        OutputError: the folder cannot be written.
    """
    facts = {
        "base model": f"{model.base}, frozen; needed to use this adapter",
        "LoRA": f"rank {model.rank}, alpha {2 * model.rank}, linear layers of the language model",
        "learnt from": pictures.summary,
        "not seen": "anomalous pictures and masks of the data set",
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        model.write(out)
        card.write(
            out,
            title=f"An adapter of {model.base}",
            facts=facts,
            stages=[settings],
            logs=[log.read(out / WORK)],
            command=command,
        )
