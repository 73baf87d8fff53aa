"""One training of an AnomalyGPT adapter on a user's pictures: its start, its length, its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish.detectors import _adapter, _saved
from blemish.detectors._adapter import AdapterConfig
from blemish.errors import OptionError, OutputError
from blemish.prompts.anomalygpt import Pair
from blemish.runs.folder import writing
from blemish.training import card, checkpoint, log
from blemish.training.anomalygpt import Learner
from blemish.training.pictures import Pictures
from blemish.training.settings import TrainSettings
from blemish.types import Encoder

KIND = "anomalygpt"
TRAINING = "training"
"""Folder inside the adapter's that holds where the training stands."""
TEXT = 128
"""Values of the two learned text features."""
EPOCHS, LEAST = 50, 300
"""The published epochs, and the fewest steps, which a handful of pictures would not come to; a new
adapter takes twice as many, half of them to learn where to look."""
QUICK: Mapping[str, str] = {"dinov2-small": "int8"}
"""What encoders compute in on a CPU; three times as fast, and nearly the same tokens."""
_LAYERS: Mapping[str, tuple[int, ...]] = {"dinov2-small": (3, 5, 7, 9)}
"""The decoder's of encoders whose last layers serve something else."""
_NEW, _AGAIN = 3e-3, 5e-4
"""Highest learning rates from nothing and from an adapter; the published one is 1e-3."""


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


def settings(
    length: int, *, rate: float | None, started: bool, seed: int, minutes: float | None
) -> TrainSettings:
    """How to train; with AdamW, whose weight decay leaves the gradients' sizes alone.

    Args:
        length: steps.
        rate: the highest; None for what suits.
        started: an adapter is trained further.
        seed: of everything random.
        minutes: see `TrainSettings`.
    """
    return TrainSettings(
        steps=length,
        rate=rate or (_AGAIN if started else _NEW),
        optimizer="adamw",
        seed=seed,
        minutes=minutes,
        every=min(50, max(1, length // 10)),
    )


def learner(
    pictures: Pictures,
    encoder: Encoder,
    language_model: Any,
    start: Path | None,
    seed: int,
    *,
    lora: bool = False,
    left_out: Sequence[str] = (),
) -> Learner:
    """A new adapter for an encoder and a language model, or one that is to learn more.

    Args:
        pictures: what it will learn from.
        encoder: frozen.
        language_model: frozen; a `blemish.llms.causal.Causal`.
        start: folder of an adapter; None for a new one.
        seed: of the first weights.
        lora: changes to the language model's weights learn too.
        left_out: see `AdapterConfig`.

    Raises:
        SavedError: the adapter is not there or damaged.
        WeightsError: it was made for other models.
        OptionError: it cannot learn more, or the encoder's layers differ in width.
    """
    if start is None:
        new = replace(_new(pictures, encoder, language_model), left_out=tuple(left_out))
        return Learner(new, language_model, seed, lora=lora)
    config, modules = _adapter.read(start)
    _adapter.check(config, start, encoder, language_model, KIND)
    if config.published or _adapter.lora(start) or {*config.left_out} - {*left_out}:
        raise OptionError(
            f"The adapter {start} came out of AnomalyGPT's own checkpoints, changes its language "
            "model, or lacks a part that should learn, and cannot learn more here. Start a new one "
            "with --start new."
        )
    about = f"{pictures.summary}; before that, {config.trained_on or 'what is not told'}"
    config = replace(config, trained_on=about, left_out=tuple(left_out))
    more = Learner(config, language_model, seed, lora=lora)
    for name, module in more.modules.items():
        module.load_state_dict(modules[name].state_dict())
    return more


def _new(pictures: Pictures, encoder: Encoder, language_model: Any) -> AdapterConfig:
    depth = getattr(encoder, "depth", 0)
    quarters = tuple(depth * part // 4 for part in (1, 2, 3, 4)) if depth >= 4 else ()
    layers = _LAYERS.get(encoder.name) or quarters or encoder.default_layers
    image = pictures.example(0, bad=False).sample.image
    seen = encoder.encode([image], layers=layers, size=encoder.default_size)[0]
    widths = {seen.patches[layer].shape[-1] for layer in layers} | {len(seen.class_token)}
    if len(widths) > 1:
        raise OptionError(
            f"The layers of {encoder.name} have {', '.join(map(str, sorted(widths)))} values a "
            "token; the decoder wants one width. Take a vision transformer, such as dinov2-small "
            "or clip:FOLDER."
        )
    return AdapterConfig(
        kind=KIND,
        encoder=encoder.name,
        layers=layers,
        features=widths.pop(),
        text=TEXT,
        learned_texts=True,
        language_model=language_model.name,
        width=language_model.width,
        spread=language_model.spread,
        trained_on=pictures.summary,
    )


def check_out(out: Path) -> None:
    """Raise OutputError where a folder holds an adapter that no training in it wrote."""
    if (out / _adapter.CONFIG).exists() and not (out / TRAINING / checkpoint.FILE).exists():
        raise OutputError(
            f"{out} holds an adapter, but not where its training stood. Choose a new folder with "
            "--out; to train that adapter further, name it with --start."
        )


def digest(start: Path | None) -> str:
    """Of the adapter that a training starts from; "new" for none."""
    return "new" if start is None else _saved.digest((start / _adapter.TENSORS).read_bytes())


def digest_of(dialogue: Sequence[Pair]) -> str:
    """Of questions, answers and the names of their pictures."""
    return _saved.digest(repr([pair.model_dump(mode="json") for pair in dialogue]).encode())


def write(out: Path, made: Learner, settings: TrainSettings, command: str) -> int:
    """Write the adapter as far as it has learnt, and its card.

    Returns:
        Steps done.

    Raises:
        OutputError: the folder cannot be written.
    """
    rows = log.read(out / TRAINING)
    done, lora = rows[-1]["step"] if rows else 0, made.changes
    part = "" if done == settings.steps else f"; {done} of {settings.steps} steps"
    config = replace(made.config, trained_on=made.config.trained_on + part)
    facts = {
        "detector": config.kind,
        "encoder": f"{config.encoder}, layers {', '.join(map(str, config.layers))}, frozen",
        "language model": f"{config.language_model}, frozen",
        "LoRA": f"rank {lora.rank}, alpha {lora.alpha}, attention's projections"
        if lora
        else "none",
        "left out": ", ".join(config.left_out) or "nothing",
        "learnt from": config.trained_on,
        "not seen": "anomalous pictures and masks of the data set",
    }
    with writing(out):
        if lora:
            lora.write(out / _adapter.LORA, config.language_model)
        _adapter.write(out, config, made.modules)
        card.write(
            out,
            title="An adapter of AnomalyGPT",
            facts=facts,
            settings=settings,
            log=rows,
            command=command,
        )
    return done
