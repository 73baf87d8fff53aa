"""One training of an adapter on a user's pictures: its start and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish.detectors import _adapter, _saved
from blemish.detectors._adapter import AdapterConfig
from blemish.errors import OptionError, OutputError
from blemish.prompts.anomalygpt import Pair
from blemish.runs.folder import writing
from blemish.training import card, checkpoint
from blemish.training import stages as series
from blemish.training.anomalygpt import Learner
from blemish.training.pictures import Pictures
from blemish.training.plans import Wanted
from blemish.training.settings import TrainSettings
from blemish.types import Encoder

TITLES: Mapping[str, str] = {"anomalygpt": "AnomalyGPT", "iad-gpt": "IAD-GPT"}
TRAINING = "training"
"""Folder inside the adapter's that holds where the training stands."""
TEXT = 128
"""Values of a learned text feature."""
KINDS = 7
"""Abnormal texts that an adapter with `apg` learns beside T_a, for an encoder without a text tower:
as many as the abnormal prompt generator commonly finds."""
QUICK: Mapping[str, str] = {"dinov2-small": "int8"}
"""What encoders compute in on a CPU; three times as fast, and nearly the same tokens."""
_LAYERS: Mapping[str, tuple[int, ...]] = {"dinov2-small": (3, 5, 7, 9)}
"""The decoder's of encoders whose last layers serve something else."""
_FUSED: Mapping[str, tuple[int, ...]] = {"dinov2-small": (6, 7, 8, 9)}
"""The same where each layer's mask is shown, few-shot ones too, which go through one calibration:
the first layers of this encoder would be above its operating point on every good part."""


def learner(
    pictures: Pictures,
    encoder: Encoder,
    language_model: Any,
    start: Path | None,
    seed: int,
    wanted: Wanted,
) -> Learner:
    """A new adapter for an encoder and a language model, or one that is to learn more.

    Args:
        pictures: what it will learn from.
        encoder: frozen.
        language_model: frozen; a `blemish.llms.causal.Causal`.
        start: folder of an adapter; None for a new one.
        seed: of the first weights.
        wanted: what it should be.

    Raises:
        SavedError: the adapter is not there or damaged.
        WeightsError: it was made for other models, or for another detector.
        OptionError: it cannot learn more, or has other parts than are wanted, or the encoder's
            layers differ in width.
    """
    how: dict[str, Any] = {"lora": wanted.lora, "staged": wanted.staged}
    if start is None:
        return Learner(_new(wanted, pictures, encoder, language_model), language_model, seed, **how)
    config, modules = _adapter.read(start)
    _adapter.check(config, start, encoder, language_model, wanted.kind)
    parts = (wanted.enhancer, wanted.fusion, wanted.apg)
    fits = (config.enhancer, config.fusion, config.apg) == parts
    if (
        not fits
        or config.published
        or _adapter.lora(start)
        or {*config.left_out} - {*wanted.left_out}
    ):
        raise OptionError(
            f"The adapter {start} came out of published checkpoints, changes its language model, "
            "or has other parts than should learn, and cannot learn more here. Start a new one "
            "with --start new."
        )
    about = f"{pictures.summary}; before that, {config.trained_on or 'what is not told'}"
    config = replace(
        config,
        trained_on=about,
        left_out=wanted.left_out,
        staged=wanted.staged,
        anomalies=pictures.anomalies,
    )
    more = Learner(config, language_model, seed, **how)
    for name, module in more.modules.items():
        module.load_state_dict(modules[name].state_dict())
    return more


def config(
    wanted: Wanted,
    encoder: Encoder,
    language_model: Any,
    layers: tuple[int, ...],
    features: int,
    trained_on: str,
) -> AdapterConfig:
    """Of a new adapter.

    Args:
        wanted: what it should be.
        encoder: frozen.
        language_model: frozen.
        layers: of the encoder that the decoder takes.
        features: values of a token of these.
        trained_on: what it learns from, for people.
    """
    return AdapterConfig(
        kind=wanted.kind,
        encoder=encoder.name,
        layers=layers,
        features=features,
        text=TEXT,
        learned_texts=True,
        language_model=language_model.name,
        width=language_model.width,
        spread=language_model.spread,
        trained_on=trained_on,
        left_out=wanted.left_out,
        enhancer=wanted.enhancer,
        fusion=wanted.fusion,
        apg=wanted.apg,
        abnormal=1 + KINDS if wanted.apg else 1,
        staged=wanted.staged,
    )


def _new(
    wanted: Wanted, pictures: Pictures, encoder: Encoder, language_model: Any
) -> AdapterConfig:
    read = layers(wanted, encoder)
    image = pictures.example(0, bad=False).sample.image
    seen = encoder.encode([image], layers=read, size=encoder.default_size)[0]
    widths = {seen.patches[layer].shape[-1] for layer in read} | {len(seen.class_token)}
    if len(widths) > 1:
        raise OptionError(
            f"The layers of {encoder.name} have {', '.join(map(str, sorted(widths)))} values a "
            "token; the decoder wants one width. Take a vision transformer, such as dinov2-small "
            "or clip:FOLDER."
        )
    new = config(wanted, encoder, language_model, read, widths.pop(), pictures.summary)
    return replace(new, anomalies=pictures.anomalies)


def layers(wanted: Wanted, encoder: Encoder) -> tuple[int, ...]:
    """Of an encoder, for the decoder of a new adapter: four, as the documents have it."""
    depth = getattr(encoder, "depth", 0)
    quarters = tuple(depth * part // 4 for part in (1, 2, 3, 4)) if depth >= 4 else ()
    own = (_FUSED if wanted.fusion else _LAYERS).get(encoder.name)
    return own or quarters or encoder.default_layers


def check_out(out: Path) -> None:
    """Raise OutputError where a folder holds an adapter that no training in it wrote."""
    stood = any((out / TRAINING).rglob(checkpoint.FILE))
    if (out / _adapter.CONFIG).exists() and not stood:
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


def write(out: Path, made: Learner, stages: Sequence[TrainSettings], command: str) -> int:
    """Write the adapter as far as it has learnt, and its card.

    Returns:
        Steps done, of all stages.

    Raises:
        OutputError: the folder cannot be written.
    """
    logs = series.logs(out / TRAINING, stages)
    done, lora = sum(rows[-1]["step"] for rows in logs if rows), made.changes
    all_steps = sum(one.steps for one in stages)
    part = "" if done == all_steps else f"; {done} of {all_steps} steps"
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
            title=f"An adapter of {TITLES[config.kind]}",
            facts=facts,
            stages=stages,
            logs=logs,
            command=command,
        )
    return done
