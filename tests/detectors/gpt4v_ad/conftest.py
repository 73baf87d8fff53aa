"""A detector on a scripted model, models and other detectors that are played, and a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.detectors.gpt4v_ad import GPT4VAD
from blemish.llms.scripted import Scripted
from blemish.types import Detector, Example, Inspection, Message, Region, Reply, Sample


class Attempts:
    """A model whose reply depends on the attempt, and that remembers its arguments."""

    name = "attempts"
    fingerprint = "attempts:1"

    def __init__(self, *replies: str | Reply | Exception) -> None:
        self.replies = replies
        self.calls: list[dict[str, Any]] = []

    def chat(self, messages: Sequence[Message], *, attempt: int = 0, **how: Any) -> Reply:
        self.calls.append({"attempt": attempt, **how})
        said = self.replies[attempt]
        if isinstance(said, Exception):
            raise said
        return Reply(said) if isinstance(said, str) else said

    def stream(self, messages: Sequence[Message]) -> Any:
        raise NotImplementedError


class Fixed:
    """Another detector that always finds the same."""

    name = "fixed"
    fingerprint = "fixed:1"
    calibration = None

    def __init__(self, score: float, *boxes: tuple[int, int, int, int]) -> None:
        self.score, self.boxes = score, boxes
        self.knows: list[str] = []

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Fixed:
        fitted = Fixed(self.score, *self.boxes)
        fitted.knows = [s.id for s in normals]
        return fitted

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Inspection:
        raw = np.zeros(sample.image.shape[:2], np.float32)
        regions = []
        for number, (x0, y0, x1, y1) in enumerate(self.boxes, 1):
            raw[y0:y1, x0:x1] = self.score
            mask = np.ones((y1 - y0, x1 - x0), bool)
            regions.append(Region(number, (x0, y0, x1, y1), mask, self.score, "centre"))
        verdict: Any = "anomalous" if self.score > 0.6 else "normal"
        return Inspection(
            sample.id, verdict, "calibration", score=self.score, raw_score=self.score,
            maps=(raw,), regions=tuple(regions), explanation="as ever",
        )  # fmt: skip

    def with_calibration(self, calibration: Any) -> Fixed:
        return self

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "fixed").write_text("saved")


@pytest.fixture(scope="session")
def attempts() -> type[Any]:
    """A model whose reply depends on the attempt, out of its replies or errors."""
    return Attempts


@pytest.fixture(scope="session")
def fixed() -> type[Any]:
    """Another detector, out of the score and the boxes that it always finds."""
    return Fixed


@pytest.fixture(scope="session")
def detector() -> Callable[..., GPT4VAD]:
    """Builds the detector on a model, or on replies; sixteen square regions unless asked for."""

    def build(said: Any, map_source: Detector | None = None, **options: Any) -> GPT4VAD:
        model = said if hasattr(said, "chat") else Scripted(said)
        checked = GPT4VADOptions(**{"regions": "grid", "cells": 4, **options})
        return GPT4VAD(language_model=model, map_source=map_source, options=checked)

    return build


@pytest.fixture(scope="session")
def asked() -> Callable[..., Message]:
    """The one message of a question that a detector asked its scripted model."""

    def of(found: GPT4VAD, call: int = 0) -> Message:
        assert isinstance(found.language_model, Scripted)
        (message,) = found.language_model.asked[call]
        return message

    return of


@pytest.fixture(scope="session")
def part() -> Sample:
    """Noise, 96 x 160, with an id that must not get into a question."""
    pixels = np.random.default_rng(0).integers(60, 200, (96, 160, 3), dtype=np.uint8)
    return Sample(pixels, class_name="metal_nut", id="line_4/SECRET_name.png")
