"""VQA on a scripted model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from blemish.detectors._vqa_options import VQAOptions
from blemish.detectors.vqa import VQA
from blemish.llms.scripted import Scripted
from blemish.types import Sample

Make = Callable[..., VQA]


@pytest.fixture
def make() -> Make:
    """A detector whose model says this, asked once unless `follow_ups` says otherwise."""

    def made(said: Any, **options: Any) -> VQA:
        model = said if hasattr(said, "chat") else Scripted(said)
        return VQA(language_model=model, options=VQAOptions(**{"follow_ups": 0, **options}))

    return made


@pytest.fixture
def part() -> Sample:
    """A bottle of 90 x 120 pixels."""
    image = np.random.default_rng(3).integers(60, 200, (90, 120, 3), dtype=np.uint8)
    return Sample(image, "bottle", id="part.png")


def texts(detector: VQA) -> list[str]:
    """What was asked last in each call."""
    return [messages[-1].text for messages in detector.language_model.asked]  # type: ignore[attr-defined]
