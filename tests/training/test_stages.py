"""IAD-GPT's three stages: what learns in each, from what, and how a stopped training goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from blemish.detectors._adapter import AdapterConfig
from blemish.detectors._anomalygpt_turn import Seen
from blemish.errors import SavedError
from blemish.prompts import anomalygpt as prompts
from blemish.synthesis.procedural import write_set
from blemish.training import checkpoint
from blemish.training import corpus as corpora
from blemish.training.anomalygpt import ALPHA, Learner
from blemish.training.batches import Course, PictureBatches
from blemish.training.corpus import Corpus
from blemish.training.curriculum import STAGES, Batches, layered
from blemish.training.loop import train
from blemish.training.losses import dice, focal
from blemish.training.pictures import Pictures
from blemish.training.plans import IAD_GPT, Wanted, course, rate, stages
from blemish.training.settings import TrainSettings
from blemish.training.stages import course as course_of
from blemish.training.stages import folders, logs

LAYERS = (1, 2, 3, 4)
CONFIG = AdapterConfig(
    *("iad-gpt", "cells", LAYERS, 5, 4, True, "parrot", 8, 0.1),
    enhancer=True,
    fusion=True,
    apg=True,
    abnormal=8,
)
LEARNS = {1: {"image"}, 2: {"decoder", "prompt_learner"}, 3: {"image", "prompt_learner"}}
SHOWN = {1: 1, 2: 14, 3: 14}
"""Embeddings: of the picture; and four base ones, and nine of the masks."""


class Parrot:
    """Stands in for a language model: the loss is how far prompts are from the answers' length."""

    device = "cpu"
    name = "parrot"

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def embed(self, text: str) -> torch.Tensor:
        return torch.zeros(0, 8)

    def loss(self, turns: Any, answers: Any, *, prefix: str) -> torch.Tensor:
        self.lengths = [len(turn) for turn in turns]
        aims = torch.tensor([float(len(a)) for a in answers])
        found = torch.stack([(t * torch.arange(8.0)).sum() for t in turns])
        return ((found - aims) ** 2).mean()


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the steps."""
    monkeypatch.setattr("blemish.training.log.draw", lambda rows: b"")


@pytest.fixture(scope="module")
def pictures() -> Corpus:
    random = np.random.default_rng(0)
    masks = np.zeros((12, 112, 112), bool)
    masks[6:, 10:30, 80:100] = True
    maps = np.where(masks, 0.9, 0.2).astype(np.float16)
    return Corpus(
        random.standard_normal((12, 5)).astype(np.float32),
        {k: random.standard_normal((12, 6, 6, 5)).astype(np.float16) for k in LAYERS},
        maps,
        masks,
        ("metal nut",) * 12,
        ("good",) * 6 + ("",) * 6,
        np.stack([maps * np.float16(1 - layer / 10) for layer in range(4)], 1),
    )


def batches(pictures: Corpus, stage: int) -> Batches:
    return Batches(pictures, LAYERS, stage, plan=STAGES[stage], fused=True)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_each_stage_trains_its_modules_and_leaves_the_others(
    pictures: Corpus, tmp_path: Path, stage: int
) -> None:
    learner = Learner(CONFIG, parrot := Parrot(), staged=True)
    before = {name: t.clone() for name, t in learner.adapter_state().items()}
    settings = TrainSettings(steps=2, stage=stage, rate=0.01, every=9)
    train(learner, batches(pictures, stage), settings, tmp_path)
    changed = {
        name.partition(".")[0]
        for name, tensor in learner.adapter_state().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == LEARNS[stage]
    assert set(parrot.lengths) == {SHOWN[stage]}
    assert set(logs(tmp_path, [settings])[0][0]["parts"]) == (
        {"answers", "focal", "dice"} if stage == 2 else {"answers"}
    )


def test_in_one_stage_everything_learns(pictures: Corpus) -> None:
    learner = Learner(CONFIG, Parrot())
    loss, parts = learner.loss(batches(pictures, 2)(400), 1)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, module in learner.modules.items():
        grown = [p for p in module.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert grown, name
    assert set(parts) == {"answers", "focal", "dice"}


def test_the_decoders_loss_is_that_of_the_mean_map(pictures: Corpus) -> None:
    learner = Learner(CONFIG, Parrot(), staged=True)
    batch = batches(pictures, 2)(400)
    _, parts = learner.loss(batch, 2)
    with torch.no_grad():
        layers = learner.modules["decoder"].layers(batch.tokens)  # type: ignore[operator]
    mean = torch.stack([layers[:, k] for k in range(4)]).sum(0) / 4
    sized = torch.nn.functional.interpolate(mean[:, None], (112, 112), mode="bilinear")[:, 0]
    assert parts["dice"] == pytest.approx(float(dice(sized, batch.masks)), rel=1e-4)
    assert parts["focal"] == pytest.approx(float(focal(sized, batch.masks, alpha=ALPHA)), rel=1e-3)


def test_layers_of_a_made_up_map_share_their_anomalies_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        maps, mask = layered(random, 4)
        assert maps.shape == (4, 112, 112)
        assert 0 <= maps.min() <= maps.max() <= 1
        assert (maps[:, mask] > 0.5).all()
        assert (maps[:, ~mask] <= 0.5).all()
        assert len({m.tobytes() for m in maps}) == 4
        assert len({round(float(m.max()), 3) for m in maps}) > 1


def test_batches_show_masks_of_each_layer_and_cells(pictures: Corpus) -> None:
    batch = batches(pictures, 3)(0)
    assert batch.maps.shape == (12, 4, 112, 112)
    assert batch.seen.cells is not None
    known = {tuple(row): number for number, row in enumerate(pictures.class_tokens.tolist())}
    found = 0
    for token, cells in zip(batch.seen.pictures.tolist(), batch.seen.cells, strict=True):
        if (number := known.get(tuple(token))) is None:
            continue
        grid = pictures.tokens[4][number].astype(np.float32)
        for cell in range(9):
            y, x = 2 * (cell // 3), 2 * (cell % 3)
            mean = grid[y : y + 2, x : x + 2].mean((0, 1))
            np.testing.assert_allclose(cells[cell], mean, rtol=1e-4, atol=1e-5)
        found += 1
    assert found >= 6
    first = batches(pictures, 1)(0)
    assert {tuple(row) for row in first.seen.pictures.tolist()} <= set(known)


def test_a_users_stages_show_what_the_document_says(stand_ins: ModuleType, tmp_path: Path) -> None:
    write_set(tmp_path / "wood", "wood", train=3, good=1, anomalous=1, size=(96, 96))
    own = PictureBatches(
        Pictures(tmp_path), stand_ins.Cells(), replace(CONFIG, layers=(1, 2)), size=8
    )
    learner = Learner(replace(CONFIG, layers=(1, 2)), Parrot(), staged=True)
    settings = [TrainSettings(steps=4, stage=stage) for stage in (1, 2, 3)]
    shown = [course(learner, settings, one, started=False) for one in settings]
    assert shown == [
        Course(maps=False, fused=True),
        Course(alone=2, fused=True, before=4),
        Course(fused=True, before=8),
    ]
    first, second, _ = (own.during(one) for one in shown)
    assert first(0).decoded == tuple(range(8))
    assert second(0).decoded == (-1,) * 8
    assert second(0).maps.shape == (8, 2, 112, 112)
    cells = second(0).seen.cells
    assert cells is not None
    assert cells.shape == (8, 9, 13)
    # Other pictures and anomalies than in the stage before.
    assert not torch.equal(second(0).masks, first(0).masks)
    assert [course(learner, settings, one, started=True).alone for one in settings] == [0, 0, 0]


@pytest.mark.parametrize("killed", [1, 4, 5])
def test_stopped_anywhere_it_ends_with_the_same_bits(
    pictures: Corpus, tmp_path: Path, killed: int
) -> None:
    """Three stages of two steps; stopped after so many of all six, and started again."""
    settings = [TrainSettings(steps=2, stage=stage, rate=0.01, every=1) for stage in (1, 2, 3)]

    def run(folder: Path, most: int) -> dict[str, torch.Tensor]:
        learner, done = Learner(CONFIG, Parrot(), staged=True), 0

        def stop() -> bool:
            nonlocal done
            done += 1
            return done >= most

        for one, own, about in course_of(settings, folder, {}):
            train(learner, batches(pictures, one.stage), one, own, about=about, stop=stop)
            if done >= most:
                break
        return learner.adapter_state()

    whole = run(tmp_path / "whole", 9)
    run(tmp_path / "cut", killed)
    steps = [len(rows) for rows in logs(tmp_path / "cut", settings)]
    assert sum(steps) == killed
    again = run(tmp_path / "cut", 9)
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert [len(rows) for rows in logs(tmp_path / "cut", settings)] == [2, 2, 2]


def test_a_stage_that_was_trained_anew_is_no_start_for_what_followed(
    pictures: Corpus, tmp_path: Path
) -> None:
    settings = [TrainSettings(steps=1, stage=stage) for stage in (1, 2)]

    def run(seed: int, stages: list[TrainSettings] = settings) -> None:
        learner = Learner(CONFIG, Parrot(), seed, staged=True)
        for one, own, about in course_of(stages, tmp_path, {}):
            train(learner, batches(pictures, one.stage), one, own, about=about)

    run(0)
    (folders(tmp_path, settings)[0] / checkpoint.FILE).unlink()
    with pytest.raises(SavedError, match="about stage before is"):
        run(1)
    with pytest.raises(SavedError, match="in other stages than the 1 asked for"):
        run(0, settings[:1])


def test_focal_loss_weighs_the_classes() -> None:
    random = torch.Generator().manual_seed(0)
    found, truth = torch.rand(2, 5, 5, generator=random), torch.rand(2, 5, 5) > 0.5
    total = 0.0
    for p, odd in zip(found.flatten().tolist(), truth.flatten().tolist(), strict=True):
        right, weight = (p, 0.75) if odd else (1 - p, 0.25)
        total += -weight * (1 - right) ** 2 * float(np.log(right))
    assert float(focal(found, truth, alpha=0.75)) == pytest.approx(total / 50, rel=1e-5)


def test_layers_of_a_corpus_lie_beside_it_and_mean_what_its_calibration_says(
    stand_ins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "PARTS", (2, 2, 2))
    encoder = stand_ins.Cells()
    plain = corpora.corpus(tmp_path, encoder, (1, 2), lines=1)
    assert plain.layered is None
    line = next(tmp_path.glob("line-*.npz")).read_bytes()
    both = corpora.corpus(tmp_path, encoder, (1, 2), lines=1, layered=True)
    assert next(tmp_path.glob("line-*.npz")).read_bytes() == line
    assert both.layered is not None
    assert both.layered.shape == (6, 2, 112, 112)
    bad = np.array([mask.any() for mask in both.masks])
    highest = both.layered.max((2, 3)).astype(float)
    assert (highest[bad].mean(0) > highest[~bad].mean(0)).all()
    assert both.cells(2).shape == (6, 9, both.tokens[2].shape[-1])


def test_how_long_and_how_fast_each_stage_is() -> None:
    assert stages(IAD_GPT, 3629, None, 16, False) == dict.fromkeys((1, 2, 3), 11341)
    assert stages(IAD_GPT, 8, None, 16, True) == {1: 100, 2: 300, 3: 300}
    assert stages(IAD_GPT, 32, 4, 16, False) == {1: 8, 2: 8, 3: 8}
    assert stages(Wanted("iad-gpt"), 32, 4, 16, False) == {1: 8}
    parrot = Parrot()
    assert rate(IAD_GPT, parrot, started=False) == rate(IAD_GPT, parrot, started=True) == 5e-4
    parrot.name = "smollm2-135m"
    assert rate(IAD_GPT, parrot, started=False) == 3e-3


def test_an_enhancer_alone_is_given_cells_and_one_map(pictures: Corpus) -> None:
    config = replace(CONFIG, kind="anomalygpt", fusion=False, apg=False, abnormal=1)
    learner = Learner(config, Parrot())
    seen = Seen(torch.zeros(2, 5), torch.zeros(2, 9, 5))
    turns = learner.turns(seen, torch.zeros(2, 1, 112, 112), [prompts.prompt("Why?")] * 2)
    assert [len(turn) for turn in turns] == [14, 14]
