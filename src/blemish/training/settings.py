"""How to train: the published values, and how the rate moves."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """Settings of `train`; rate, betas, weight decay and optimiser are AnomalyGPT's as published.

    Attributes:
        steps: how often the optimiser steps; the published 50 epochs are the caller's to convert.
        stage: which of the model's stages; a training in one stage is in stage 1.
        rate: the highest learning rate.
        warmup: share of the steps in which the rate rises to it, in a line; the document has a
            warm-up, but does not say how long.
        optimizer: "adam" adds the weight decay to the gradient, "adamw" takes it off the weights.
        betas: memory of Adam's two averages.
        weight_decay: pull of every weight towards zero.
        clip: gradients longer than this, all weights taken together, are shortened to it.
        accumulate: batches whose gradients are averaged into one step.
        precision: "bfloat16" computes the loss in mixed precision; "auto" does so on a GPU that
            has the type; the weights and the optimiser stay as they are.
        seed: of every random number drawn while a loss is computed.
        minutes: stop in order after so long, to be resumed; None: go on to the end.
        every: steps from checkpoint to checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=1)
    stage: int = Field(default=1, ge=1)
    rate: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=1e-3, ge=0)
    clip: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = Field(default=0, ge=0)
    minutes: float | None = Field(default=None, gt=0)
    every: int = Field(default=50, ge=1)


def rate_of(step: int, settings: TrainSettings) -> float:
    """The learning rate of a step, counted from 0: up in a line, then down half a cosine to zero.

    A function of the step alone, so that there is no scheduler whose state would have to be kept.

    >>> four = TrainSettings(steps=6, rate=1.0, warmup=1 / 3)
    >>> [round(rate_of(step, four), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    rising = round(settings.warmup * settings.steps)
    if step < rising:
        return settings.rate * (step + 1) / rising
    done = (step - rising) / (settings.steps - rising)
    return settings.rate * (1 + math.cos(math.pi * done)) / 2
