"""One training of an adapter on a user's pictures: its start and its end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish.detectors import _adapter, _saved
from blemish.detectors._adapter import AdapterConfig
from blemish.errors import OptionError, OutputError, WeightsError
from blemish.prompts.anomalygpt import Pair
from blemish.runs.folder import writing
from blemish.training import card, checkpoint
from blemish.training import stages as series
from blemish.training.anomalygpt import Learner
from blemish.training.pictures import Pictures
from blemish.training.plans import Wanted
from blemish.training.settings import TrainSettings
from blemish.training.start import Start
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
    start: Start | None,
    seed: int,
    wanted: Wanted,
) -> Learner:
    """A new adapter for an encoder and a language model, or one that is to learn more.

    Args:
        pictures: what it will learn from.
        encoder: frozen.
        language_model: frozen; a `blemish.llms.causal.Causal`, with the LoRA of the start.
        start: of what it begins with; None for a new one.
        seed: of the first weights.
        wanted: what it should be.

    Raises:
        WeightsError: the start was made for other models, or for another detector.
        OptionError: it cannot learn more, or has other parts than are wanted, or the encoder's
            layers differ in width.
    """
    if start is None:
        config = _new(wanted, pictures, encoder, language_model)
    elif start.config.published:
        _adapter.check(start.config, start.path, encoder, language_model, start.config.kind)
        if start.blocks not in (0, language_model.depth):
            raise WeightsError(
                f"{start.path} changes {start.blocks} layers of its language model, and "
                f"{language_model.name} has {language_model.depth}. Name the one it was made for."
            )
        config = _new(wanted, pictures, encoder, language_model)
    else:
        config = _further(wanted, pictures, start, encoder, language_model)
    given = start.lora if start else None
    made = Learner(
        config, language_model, seed, lora=wanted.lora, staged=wanted.staged, given=given
    )
    if start is not None:
        before = start.config.trained_on or "what is not told"
        about = f"{pictures.summary}; before that, {before}"
        made.config = replace(config, trained_on=about)
        start.into(made.modules)
    if not made.parameters(1):
        raise OptionError(
            "Nothing would learn: decoder and prompt learner are left out, and the projection of "
            "the picture stays as it was published. Keep one of them."
        )
    return made


def _further(
    wanted: Wanted, pictures: Pictures, start: Start, encoder: Encoder, language_model: Any
) -> AdapterConfig:
    """Of a compact adapter that learns more."""
    config = start.config
    _adapter.check(config, start.path, encoder, language_model, wanted.kind)
    parts = (wanted.enhancer, wanted.fusion, wanted.apg)
    fits = (config.enhancer, config.fusion, config.apg) == parts
    if not fits or start.lora or {*config.left_out} - {*wanted.left_out}:
        raise OptionError(
            f"The adapter {start.path} changes its language model, or has other parts than should "
            "learn, and cannot learn more here. Start a new one with --start new."
        )
    return replace(
        config,
        left_out=wanted.left_out,
        staged=wanted.staged,
        anomalies=pictures.anomalies,
        tuned=wanted.lora,
    )


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
    joint: int = getattr(encoder, "dim", 0) if wanted.published else 0
    return AdapterConfig(
        kind=wanted.kind,
        encoder=encoder.name,
        layers=layers,
        features=features,
        text=joint or TEXT,
        learned_texts=not joint,
        language_model=language_model.name,
        width=language_model.width,
        spread=language_model.spread,
        prompt_learner="published" if wanted.published else "compact",
        trained_on=trained_on,
        joint=joint,
        left_out=wanted.left_out,
        enhancer=wanted.enhancer,
        fusion=wanted.fusion,
        apg=wanted.apg,
        abnormal=1 + KINDS if wanted.apg and not joint else 1,
        staged=wanted.staged,
        tuned=wanted.lora,
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
        "LoRA": _changes(made),
        "left out": ", ".join(config.left_out) or "nothing",
        "learnt from": config.trained_on,
        "not seen": "anomalous pictures and masks of the data set",
    }
    with writing(out):
        if lora:
            lora.write(out / _adapter.LORA, config.language_model)
        elif made.given:
            shutil.copytree(made.given, out / _adapter.LORA, dirs_exist_ok=True)
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


def _changes(made: Learner) -> str:
    """What an adapter's card says of its LoRA."""
    if made.changes:
        return f"rank {made.changes.rank}, alpha {made.changes.alpha}, attention's projections"
    return "that of what it started from, frozen" if made.given else "none"
