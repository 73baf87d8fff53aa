"""How an adapter is to be trained: its parts, its stages, their lengths and rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.training.anomalygpt import Learner
from blemish.training.batches import Course
from blemish.training.settings import TrainSettings

EPOCHS, LEAST = 50, 300
"""The published epochs, and the fewest steps, which a handful of pictures would not come to; a new
adapter takes twice as many, half of them to learn where to look."""
PICTURE = 100
"""The fewest steps of IAD-GPT's first stage, in which the picture alone is shown."""
PUBLISHED: Mapping[str, float] = {"anomalygpt": 1e-3, "iad-gpt": 5e-4}
"""The published highest learning rates, which adapters of the published size take."""
_NEW, _AGAIN = 3e-3, 5e-4
"""Those of compact ones from nothing and from an adapter."""
_SMALL = "smollm2-135m"
"""The language model for which the rate of new adapters was chosen."""


@dataclass(frozen=True)
class Wanted:
    """What an adapter should be, and how it should learn.

    Attributes:
        kind: "anomalygpt" or "iad-gpt".
        enhancer: see `AdapterConfig`, as for the next two.
        fusion: IAD-GPT's in place of the prompt learner.
        apg: texts for kinds of anomalies in the decoder.
        left_out: see `AdapterConfig`.
        lora: changes to the language model's weights learn too.
        staged: it learns in IAD-GPT's three stages.
        published: it has the published sizes, and learns as long and as fast as published.
    """

    kind: str = "anomalygpt"
    enhancer: bool = False
    fusion: bool = False
    apg: bool = False
    left_out: tuple[str, ...] = ()
    lora: bool = False
    staged: bool = False
    published: bool = False

    @property
    def usual(self) -> bool:
        """The parts are those of the adapter that ships; those that are left out do not count."""
        own = self.kind == "iad-gpt"
        return (self.enhancer, self.fusion, self.apg) == (own, own, own)


IAD_GPT = Wanted("iad-gpt", enhancer=True, fusion=True, apg=True, staged=True)


def steps(pictures: int, epochs: int | None, batch: int, started: bool) -> int:
    """Steps of so many pictures each in which all are seen so many times.

    >>> [steps(8, None, 16, started) for started in (True, False)]
    [300, 600]
    """
    asked = max(1, math.ceil(pictures * (EPOCHS if epochs is None else epochs) / batch))
    return asked if epochs is not None else max(asked, LEAST if started else 2 * LEAST)


def alone(length: int, started: bool) -> int:
    """Steps before which a new adapter sees made-up maps alone; see `PictureBatches`."""
    return 0 if started else min(LEAST, length // 2)


def stages(
    wanted: Wanted, pictures: int, epochs: int | None, batch: int, started: bool
) -> dict[int, int]:
    """Steps of each stage.

    >>> stages(IAD_GPT, 8, None, 16, started=False)
    {1: 100, 2: 600, 3: 300}
    """
    epochs = EPOCHS if wanted.published and epochs is None else epochs
    length = steps(pictures, epochs, batch, started)
    if not wanted.staged:
        return {1: length}
    seen = steps(pictures, epochs or EPOCHS, batch, started)
    first, last = (seen if epochs else max(seen, least) for least in (PICTURE, LEAST))
    return {1: first, 2: length, 3: last}


def settings(
    length: int, *, rate: float, seed: int, minutes: float | None, stage: int = 1
) -> TrainSettings:
    """How to train; with AdamW, whose weight decay leaves the gradients' sizes alone.

    Args:
        length: steps.
        rate: the highest.
        seed: of everything random.
        minutes: see `TrainSettings`.
        stage: see `TrainSettings`.
    """
    return TrainSettings(
        steps=length,
        stage=stage,
        rate=rate,
        optimizer="adamw",
        seed=seed,
        minutes=minutes,
        every=min(50, max(1, length // 10)),
    )


def rate(wanted: Wanted, language_model: Any, started: bool) -> float:
    """The highest learning rate that suits."""
    if wanted.published:
        return PUBLISHED[wanted.kind]
    large = wanted.kind == "iad-gpt" and language_model.name != _SMALL
    return _AGAIN if started or large else _NEW


def course(
    learner: Learner,
    stages: Sequence[TrainSettings],
    now: TrainSettings,
    *,
    started: bool,
    processes: int = 1,
) -> Course:
    """What a stage of a training shows the language model.

    Where maps are shown for the first time, a new adapter sees made-up ones alone at first.

    Args:
        learner: that learns.
        stages: of the training.
        now: one of these.
        started: an adapter is trained further.
        processes: that train together, each with batches of its own.
    """
    before = [one for one in stages if one.stage < now.stage]
    shown = learner.stage(now.stage).maps and not learner.config.left_out
    first = not any(learner.stage(one.stage).maps for one in before)
    return Course(
        alone=alone(now.steps, started) * processes if shown and first else 0,
        maps=shown,
        fused=learner.config.fusion,
        before=sum(one.steps for one in before) * processes,
    )
