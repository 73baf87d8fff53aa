"""What AnomalyGPT's adapter learns from, and the loss that it learns by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from blemish.detectors._adapter import AdapterConfig
from blemish.prompts import anomalygpt as prompts
from blemish.training import corpus as corpora
from blemish.training.anomalygpt import Learner
from blemish.training.corpus import Corpus
from blemish.training.curriculum import (
    ALONE,
    EVERY,
    FIRST,
    MADE_UP,
    PLAIN,
    TALK,
    USUAL,
    Batches,
    made_up,
)
from blemish.training.losses import dice, focal

LAYERS = (1, 2)
CONFIG = AdapterConfig("anomalygpt", "cells", LAYERS, 5, 4, True, "parrot", 8, 0.1)


class Parrot:
    """Stands in for a language model: the loss is how far prompts are from the answers' length."""

    device = "cpu"

    def __init__(self) -> None:
        self.heard: list[tuple[int, str]] = []

    def embed(self, text: str) -> torch.Tensor:
        return torch.zeros(len(text), 8)

    def loss(self, turns: Any, answers: Any, *, prefix: str) -> torch.Tensor:
        self.heard = [(len(t), a) for t, a in zip(turns, answers, strict=True)]
        aims = torch.tensor([float(len(a)) for a in answers])
        return ((torch.stack([t.sum() for t in turns]) - aims) ** 2).mean()


@pytest.fixture
def pictures() -> Corpus:
    random = np.random.default_rng(0)
    masks = np.zeros((12, 112, 112), bool)
    masks[6:, 10:30, 80:100] = True
    return Corpus(
        random.standard_normal((12, 5)).astype(np.float32),
        {k: random.standard_normal((12, 6, 6, 5)).astype(np.float16) for k in LAYERS},
        np.where(masks, 0.9, 0.2).astype(np.float16),
        masks,
        ("metal nut",) * 12,
        ("good",) * 6 + ("scratch",) * 3 + ("",) * 3,
    )


def test_a_step_has_the_same_batch_each_time(pictures: Corpus) -> None:
    first, second = Batches(pictures, LAYERS)(5), Batches(pictures, LAYERS)(5)
    assert (first.questions, first.answers) == (second.questions, second.answers)
    torch.testing.assert_close(first.maps, second.maps)
    assert Batches(pictures, LAYERS)(6).answers != first.answers
    assert Batches(pictures, LAYERS, seed=1)(5).answers != first.answers


@pytest.mark.parametrize(
    ("step", "sorts"),
    [
        (0, PLAIN),
        (FIRST, MADE_UP),
        *[(ALONE + EVERY + i, TALK if (ALONE + i + 1) % EVERY == 0 else USUAL) for i in range(4)],
    ],
)
def test_a_batch_has_its_share_of_each_sort(
    pictures: Corpus, step: int, sorts: dict[str, int]
) -> None:
    batch = Batches(pictures, LAYERS)(step)
    assert len(batch.answers) == sum(sorts.values()) == 12
    assert sum(row >= 0 for row in batch.decoded) == sorts.get("decoded", 0)
    assert all(answer.startswith(" ") for answer in batch.answers)
    known = {tuple(row) for row in pictures.class_tokens.tolist()}
    strange = sum(tuple(row) not in known for row in batch.seen.pictures.tolist())
    assert strange == sorts["plain"] + sorts.get("made-up", 0)


def test_answers_are_true_of_the_maps_that_are_shown(pictures: Corpus) -> None:
    batches, seen = Batches(pictures, LAYERS), set()
    asked = {"Is there any anomaly in the image?", *prompts.questions()}
    for step in (*range(6), *range(ALONE, ALONE + 12)):
        batch = batches(step)
        for i, (slots, answer) in enumerate(zip(batch.questions, batch.answers, strict=True)):
            if not any(question in slots.after for question in asked) or batch.decoded[i] >= 0:
                continue
            told = prompts.read(answer.strip())
            marks = bool((batch.maps[i] > 0.5).any())
            assert told.verdict == ("yes" if marks else "no")
            seen.add(marks)
    assert seen == {True, False}


def test_the_first_batches_say_it_in_the_first_words(pictures: Corpus) -> None:
    first = {f" {prompts.answer(prompts.Marked(), None, about)}" for about in ("presence", "place")}
    starts = ("Yes, there is an anomaly in the image, at the ", "The anomaly is at the ")
    for answer in Batches(pictures, LAYERS)(0).answers:
        assert answer in first or answer.strip().startswith(starts)


@pytest.mark.parametrize("most", [1, 3])
def test_a_made_up_map_is_above_the_operating_point_just_where_it_says(most: int) -> None:
    random, empty, widest = np.random.default_rng(0), 0, 0.0
    for _ in range(60):
        scores, mask = made_up(random, most)
        assert scores.dtype == np.float32
        assert 0 <= scores.min() <= scores.max() <= 1
        assert (scores[mask] > 0.5).all()
        assert (scores[~mask] <= 0.5).all()
        assert ndimage.label(mask, np.ones((3, 3)))[1] <= most
        if most == 1 and mask.any():
            assert len(prompts.marked(mask).places) == 1
        empty += not mask.any()
        widest = max(widest, float(mask.mean()))
    assert 15 < empty < 45
    assert widest > 0.9 if most == 3 else widest < 0.05


def test_the_loss_is_the_sum_of_its_parts_and_reaches_every_module(pictures: Corpus) -> None:
    parrot = Parrot()
    learner = Learner(CONFIG, parrot)
    batch = Batches(pictures, LAYERS)(0)
    loss, parts = learner.loss(batch, 1)
    assert float(loss.detach()) == pytest.approx(sum(parts.values()), rel=1e-5)
    decoded = learner.modules["decoder"](batch.tokens)
    sized = torch.nn.functional.interpolate(
        decoded[:, None], (112, 112), mode="bilinear", align_corners=False
    )[:, 0]
    assert parts["focal"] == pytest.approx(float(focal(sized, batch.masks).detach()))
    assert parts["dice"] == pytest.approx(float(dice(sized, batch.masks).detach()))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learner.parameters(1))
    assert [answer for _, answer in parrot.heard] == list(batch.answers)


def test_an_adapter_state_comes_back_in_place(pictures: Corpus) -> None:
    one, two = Learner(CONFIG, Parrot(), 0), Learner(CONFIG, Parrot(), 1)
    held = two.parameters(1)
    two.load_adapter(one.adapter_state())
    assert all(a is b for a, b in zip(held, two.parameters(1), strict=True))
    batch = Batches(pictures, LAYERS)(1)
    assert float(one.loss(batch, 1)[0].detach()) == float(two.loss(batch, 1)[0].detach())


def test_a_corpus_is_made_once_and_its_maps_tell_good_from_bad(
    stand_ins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "PARTS", (2, 2, 2))
    encoder = stand_ins.Cells()
    made = corpora.corpus(tmp_path, encoder, LAYERS, lines=2)
    assert len(made) == 12
    assert made.tokens[1].shape[0] == made.maps.shape[0] == 12
    bad = np.array([mask.any() for mask in made.masks])
    assert bad.tolist() == [False] * 2 + [True] * 4 + [False] * 2 + [True] * 4
    assert [kind == "good" for kind in made.kinds] == (~bad).tolist()
    highest = made.maps.max((1, 2)).astype(float)
    assert highest[bad].mean() > highest[~bad].mean()

    class Silent(type(encoder)):  # type: ignore[misc]
        def encode(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a line that is kept was made again")

    again = corpora.corpus(tmp_path, Silent(), LAYERS, lines=2)
    np.testing.assert_array_equal(again.maps, made.maps)
    assert again.names == made.names
