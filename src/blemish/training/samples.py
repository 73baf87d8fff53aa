"""What an adapter has learnt so far: some parts, their masks, the decoder's maps, and the words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from blemish.prompts import anomalygpt as prompts
from blemish.training import sheets
from blemish.training.anomalygpt import Learner
from blemish.training.batches import PictureBatches, mask_of

_LONGEST = 48
"""Tokens of an answer."""


def write(
    folder: Path, step: int, learner: Learner, batches: PictureBatches, stage: int = 1
) -> None:
    """Write a step's sheet into a training's folder: picture, mask, map if any, what is said.

    Args:
        folder: of the training, or of its stage.
        step: done.
        learner: as far as it has learnt.
        batches: whose first pictures are shown.
        stage: of the training.

    Raises:
        OutputError: it cannot be written.
    """
    examples = [batches.example(number) for number in range(sheets.SHOWN)]
    tokens, texts, seen = batches.seen([example.sample for example in examples])
    random = np.random.default_rng(0)
    asked = [batches.asked(example, random, "presence") for example in examples]
    with torch.no_grad():
        shown = "decoder" in learner.modules and learner.stage(stage).maps
        maps = learner.decoded(tokens, texts) if shown else None
        turns = learner.turns(seen, maps, [slots for slots, _ in asked], stage)
        said = learner.language_model.generate(
            turns, prefix=asked[0][0].before, most=_LONGEST, stop=(prompts.STOP,)
        )
    rows: list[sheets.Row] = []
    for number, (example, (slots, right), words) in enumerate(
        zip(examples, asked, said, strict=True)
    ):
        tiles = [example.sample.image, sheets.grey(mask_of(example))]
        tiles += [] if maps is None else [sheets.grey(maps[number].mean(0).cpu().numpy())]
        question = slots.after.partition("\n")[0].strip()
        rows.append((tiles, [question, right, words.text]))
    sheets.write(folder, step, rows)
