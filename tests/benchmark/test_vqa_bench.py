"""Benchmarks of `vqa`: the protocol of document 001, and what each option changes."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blemish.benchmark import protocol
from blemish.benchmark.folder import Means
from blemish.benchmark.plan import Plan, free, of_protocol
from blemish.benchmark.run import run
from blemish.datasets.model import Dataset
from blemish.llms.scripted import Scripted
from blemish.types import Message, Reply, Token, Usage

GRID = {"task": "industrial-localisation", "regions": "grid", "cells": 4}


def chance(messages: Sequence[Message]) -> float:
    """A number that belongs to the picture that is judged."""
    place = 1 if "The first image is normal" in messages[0].text else 0
    return hashlib.sha256(messages[0].images[place].tobytes()).digest()[0] / 255


def answer(messages: Sequence[Message]) -> Reply:
    """How a language model answers that hedges about one picture in five."""
    odd = chance(messages)
    weighed = {"Yes": math.log(0.99 * odd + 0.005), "No": math.log(0.995 - 0.99 * odd)}
    tokens = (Token("Yes" if odd > 0.5 else "No", max(weighed.values()), weighed),)
    if odd < 0.2:
        text = "It cannot be determined from this image."
    elif odd < 0.5:
        text = "No, the image shows no anomalies or defects."
    else:
        text = "Yes, there is a crack in region 2."
    return Reply(text, Usage(1, 100, 10, 0.01), tokens=tokens)


def test_the_protocol_of_document_001_runs(
    named: Callable[..., Mapping[str, Dataset]], means: Means, tmp_path: Path
) -> None:
    document = protocol.load("001/quantitative")
    model = Scripted(answer)
    plan = of_protocol(
        document,
        named("mvtec-ad", "visa"),
        categories=("bottle",),
        encoders=means.encoders,
        language_model=True,
    ).limited(2)
    ours = replace(plan, cells=tuple(c for c in plan.cells if c.detector == "vqa"))
    records = run(ours, tmp_path, replace(means, language_model=model))
    assert {record["cell"]["method"].split(",")[0] for record in records} == {
        f"{setting} ({prompt})"
        for setting in ("zero-shot", "one-shot")
        for prompt in ("naive", "with class information", "with human expertise")
    }
    for record in records:
        shots = record["cell"]["shots"]
        method = record["cell"]["method"]
        assert method.startswith("one-shot") == bool(shots)
        assert record["language_model"]["pictures"] == 4
    questions = [messages[0] for messages in model.asked]
    assert {len(message.images) for message in questions} == {1, 2}
    texts = {message.text for message in questions}
    assert len(texts) == 6  # both settings with three prompts each
    assert sum("given about the bottle" in text for text in texts) == 4
    assert sum("Normally, the image given should" in text for text in texts) == 2


def asking(dataset: Dataset, shots: Sequence[int], **options: Any) -> Plan:
    plan = free("vqa", dataset, shots, (0,), options, categories=("bottle",))
    return plan.limited(3)


@pytest.mark.parametrize(
    ("options", "flipped"),
    [
        ({}, {"task": "logical"}),
        ({"task": "industrial"}, GRID),
        ({}, {"prompt": "naive"}),
        ({}, {"references": 0}),
        ({}, {"answer": "json"}),
        ({}, {"scores": "log-probabilities"}),
        ({}, {"follow_ups": 0}),
        ({}, {"repeats": 2}),
        ({}, {"threshold": 0.9}),
        (GRID, {"regions": "superpixel"}),
        (GRID, {"regions": "sam", "segmenter": "facebook/sam-vit-huge"}),
        (GRID, {"cells": 5}),
        ({**GRID, "cells": 14}, {"avoid_small": True}),
        ({**GRID, "regions": "superpixel"}, {"segments": 20}),
        ({**GRID, "regions": "superpixel"}, {"compactness": 1}),
    ],
    ids=lambda options: ",".join(f"{name}={value}" for name, value in options.items()),
)
def test_each_option_changes_what_is_asked_or_found(
    options: Mapping[str, Any],
    flipped: Mapping[str, Any],
    miniature: Dataset,
    means: Means,
    tmp_path: Path,
) -> None:
    results = []
    for number, choice in enumerate((options, {**options, **flipped})):
        model = Scripted(answer)
        plan = asking(miniature, (1,), **choice)
        (record,) = run(plan, tmp_path / str(number), replace(means, language_model=model))
        asked = Counter((*(m.text for m in ms), *(i.tobytes() for i in ms[0].images))
                        for ms in model.asked)  # fmt: skip
        results.append((record["provenance"]["fingerprint"], asked, record["figures"]))
    assert results[0][0] != results[1][0]
    assert results[0][1:] != results[1][1:]


def test_hedged_answers_are_counted_apart(miniature: Dataset, means: Means, tmp_path: Path) -> None:
    model = Scripted(lambda messages: "It cannot be determined from this image.")
    plan = asking(miniature, (0,), follow_ups=0)
    (record,) = run(plan, tmp_path, replace(means, language_model=model))
    told = record["language_model"]
    assert (told["unsure"], told["hedged"], told["refused"], told["unparsed"]) == (6, 6, 0, 0)
    assert record["figures"]["unsure"] == 1
