"""An adapter's training on a user's pictures: its batches, its start, its sheets and its card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import blemish as package
from blemish.detectors import _adapter
from blemish.detectors._anomalygpt_turn import arranged
from blemish.errors import OptionError, OutputError, SavedError, WeightsError
from blemish.llms.causal import Causal
from blemish.prompts import anomalygpt as prompts
from blemish.synthesis.procedural import write_set
from blemish.training import adapter, card, plans, samples
from blemish.training import start as starts
from blemish.training.anomalygpt import Batch, Learner
from blemish.training.batches import Course, PictureBatches
from blemish.training.loop import train
from blemish.training.pictures import Pictures
from blemish.training.plans import Wanted
from blemish.training.settings import TrainSettings
from blemish.types import Features

LAYERS = (1, 2)
CONFIG = _adapter.AdapterConfig("anomalygpt", "cells", LAYERS, 13, 128, True, "tiny", 32, 0.3)
WANTED = Wanted()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Square pictures of one class, wide ones of another."""
    root = tmp_path_factory.mktemp("parts")
    write_set(root / "wood", "wood", train=3, good=1, anomalous=1, size=(96, 96))
    write_set(root / "grid", "grid", train=3, good=1, anomalous=1, size=(72, 144))
    return root


@pytest.fixture(scope="module")
def model(module: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model over bytes."""
    parts = module(Path(__file__).parents[1] / "tiny_vlm.py")
    tiny = module(Path(__file__).parents[1] / "tiny_causal.py")
    folder: Path = tiny.write(tmp_path_factory.mktemp("models") / "tiny", parts)
    return folder


@pytest.fixture(scope="module")
def reader(model: Path) -> Causal:
    return Causal(model)


@pytest.fixture
def batches(made: Path, stand_ins: ModuleType) -> PictureBatches:
    return PictureBatches(Pictures(made), stand_ins.Cells(), CONFIG, size=8)


@pytest.fixture
def learner(made: Path, stand_ins: ModuleType, reader: Causal) -> Learner:
    return adapter.learner(Pictures(made), stand_ins.Cells(), reader, None, 0, WANTED)


def begun(folder: Path) -> starts.Start:
    return starts.read(folder, None, folder)


def same(first: Batch, second: Batch) -> bool:
    return (
        (first.questions, first.answers, first.decoded)
        == (second.questions, second.answers, second.decoded)
        and torch.equal(first.masks, second.masks)
        and torch.equal(first.maps, second.maps)
        and all(torch.equal(a, b) for a, b in zip(first.tokens, second.tokens, strict=True))
    )


def test_a_step_has_the_same_batch_whatever_came_before(
    batches: PictureBatches, made: Path, stand_ins: ModuleType
) -> None:
    second = batches(1)
    batches(0)
    assert same(batches(1), second)
    fresh = PictureBatches(Pictures(made), stand_ins.Cells(), CONFIG, size=8)
    assert same(fresh(1), second)
    assert not same(batches(2), second)
    assert not same(
        PictureBatches(Pictures(made), stand_ins.Cells(), CONFIG, size=8, seed=1)(1), second
    )


def test_half_of_each_batch_is_good_and_answers_are_true_of_the_masks(
    batches: PictureBatches,
) -> None:
    presence, said = set(prompts.questions()), {True: 0, False: 0}
    for step in range(6):
        batch = batches(step)
        bad = batch.masks.flatten(1).any(1).tolist()
        assert bad == [False, True] * 4
        for row, slots, answer in zip(batch.decoded, batch.questions, batch.answers, strict=True):
            if row < 0 or not any(question in slots.after for question in presence):
                continue
            told = prompts.read(answer.strip())
            assert told.verdict == ("yes" if bad[row] else "no")
            true = set(prompts.marked(batches.example(8 * step + row).mask).places)  # type: ignore[arg-type]
            assert set(told.places) <= true
            said[bad[row]] += 1
    assert min(said.values()) > 3


def test_answers_over_made_up_maps_are_true_of_these(batches: PictureBatches) -> None:
    presence, seen = set(prompts.questions()), set()
    for step in range(12):
        batch = batches(step)
        for row, slots, answer, scores in zip(
            batch.decoded, batch.questions, batch.answers, batch.maps, strict=True
        ):
            if row < 0 and any(question in slots.after for question in presence):
                assert prompts.read(answer.strip()).verdict == (
                    "yes" if scores.max() > 0.5 else "no"
                )
                seen.add(bool(scores.max() > 0.5))
    assert seen == {True, False}


def test_a_new_adapter_is_shown_made_up_maps_first(made: Path, stand_ins: ModuleType) -> None:
    encoder = stand_ins.Cells()
    batches = PictureBatches(Pictures(made), encoder, CONFIG, size=8, course=Course(alone=8))
    for step in range(8):
        batch = batches(step)
        assert batch.decoded == (-1,) * 8
        assert batch.masks.flatten(1).any(1).tolist() == [False, True] * 4
        if step < 4:
            for answer, scores in zip(batch.answers, batch.maps, strict=True):
                odd = prompts.marked((scores > 0.5).numpy())
                assert odd.number <= 1
                assert set(prompts.read(answer.strip()).places) == set(odd.places)
    assert max(batches(8).decoded) >= 0


def test_plain_questions_are_never_left_out(batches: PictureBatches) -> None:
    """Of eight, two: whether or where, over a made-up map with one anomaly at most."""
    wordings = {prompts.questions(about)[0] for about in ("presence", "place")}
    for step in range(8):
        batch, plain = batches(step), 0
        for row, slots, answer, scores in zip(
            batch.decoded, batch.questions, batch.answers, batch.maps, strict=True
        ):
            odd = prompts.marked((scores > 0.5).numpy())
            true = {f" {prompts.answer(odd, about=about)}" for about in ("presence", "place")}
            asked = any(slots == prompts.prompt(wording) for wording in wordings)
            plain += row < 0 and odd.number <= 1 and asked and answer in true
        assert plain >= 2


def test_pictures_of_different_shapes_share_a_batch(
    batches: PictureBatches, stand_ins: ModuleType
) -> None:
    tokens, _, seen = batches.seen([batches.example(n).sample for n in range(6)])
    for number in range(6):
        image = batches.example(number).sample.image
        alone: Features = stand_ins.Cells().encode([image], layers=LAYERS, size=112)[0]
        assert np.array_equal(seen.pictures[number], alone.class_token)
        for layer, joined in zip(LAYERS, tokens, strict=True):
            own = alone.patches[layer]
            # Every token is still there, in its order, and none that was not.
            found = joined[number].numpy()
            distinct = {cell.tobytes() for cell in found.reshape(-1, 13)}
            assert distinct == {cell.tobytes() for cell in own.reshape(-1, 13)}
            assert np.array_equal(found[0, 0], own[0, 0])
            assert np.array_equal(found[-1, -1], own[-1, -1])
    assert tokens[1].shape[1:] == (4, 6, 13)  # 4 x 4 of the square ones, 3 x 6 of the wide ones


def test_every_fourth_batch_talks_of_other_things_too(
    made: Path, stand_ins: ModuleType, tmp_path: Path
) -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    white[:20] = 0
    PIL.Image.fromarray(white).save(tmp_path / "white.png")
    pair = {"question": "Is it a zebra?", "answer": "It has two stripes.", "image": "white.png"}
    (tmp_path / "own.json").write_text(json.dumps({"version": 1, "pairs": [pair]}))
    encoder = stand_ins.Cells()
    own = prompts.dialogue(tmp_path / "own.json")
    batches = PictureBatches(Pictures(made), encoder, CONFIG, size=8, dialogue=own)
    token = encoder.encode([white], layers=LAYERS, size=112)[0].class_token
    found = 0
    for step in range(12):
        batch = batches(step)
        for slots, answer, shown in zip(
            batch.questions, batch.answers, batch.seen.pictures, strict=True
        ):
            other = "zebra" in slots.after
            assert other == (answer == " It has two stripes.")
            assert other == np.array_equal(shown, token)
            assert step % 4 == 3 or not other
            found += other
    assert found >= 2


def test_a_training_goes_on_from_an_adapter(
    made: Path, stand_ins: ModuleType, reader: Causal, learner: Learner, tmp_path: Path
) -> None:
    _adapter.write(tmp_path, replace(learner.config, trained_on="made-up parts"), learner.modules)
    pictures = Pictures(made)
    more = adapter.learner(pictures, stand_ins.Cells(), reader, begun(tmp_path), 5, WANTED)
    before = learner.adapter_state()
    assert all(torch.equal(t, before[k]) for k, t in more.adapter_state().items())
    assert all(p.requires_grad for p in more.parameters(1))
    assert more.config.trained_on.startswith("mvtec-ad: 6 good pictures (metal grid, wood)")
    assert more.config.trained_on.endswith("before that, made-up parts")
    less = adapter.learner(
        *(pictures, stand_ins.Cells(), reader, begun(tmp_path), 5),
        Wanted(lora=True, left_out=("prompt_learner",)),
    )
    kept = less.adapter_state()
    assert all(torch.equal(t, before[k]) for k, t in kept.items() if not k.startswith("lora."))
    assert not any(name.startswith("prompt_learner.") for name in kept)
    other = adapter.learner(pictures, stand_ins.Cells(), reader, None, 5, WANTED).adapter_state()
    assert not torch.equal(other["decoder.texts"], before["decoder.texts"])


def test_an_adapter_of_other_models_is_refused(
    made: Path, stand_ins: ModuleType, reader: Causal, learner: Learner, tmp_path: Path
) -> None:
    def refused(name: str) -> None:
        start = begun(tmp_path / name)
        adapter.learner(Pictures(made), stand_ins.Cells(), reader, start, 0, WANTED)

    for name, changed, said in (
        ("width", {"width": 8, "language_model": "small"}, "embeddings have 8 values"),
        ("encoder", {"encoder": "dinov2-small"}, "trained on the encoder dinov2-small"),
    ):
        config = replace(learner.config, **changed)
        _adapter.write(tmp_path / name, config, _adapter.modules(config))
        with pytest.raises(WeightsError, match=said):
            refused(name)
    _adapter.write(tmp_path / "lora", learner.config, learner.modules)
    (tmp_path / "lora" / "lora").mkdir()
    with pytest.raises(OptionError, match="--start new"):
        refused("lora")
    with pytest.raises(SavedError, match="cannot be used"):
        refused("nothing")


ALL_OUT = ("prompt_learner", "decoder")


@pytest.mark.parametrize(
    ("lora", "left_out", "shown"),
    [(True, (), 14), (True, ALL_OUT[:1], 1), (True, ALL_OUT, 1), (False, ALL_OUT[1:], 5)],
)
def test_each_row_of_the_ablation_is_trained_and_used_as_it_was(
    made: Path,
    stand_ins: ModuleType,
    model: Path,
    tmp_path: Path,
    lora: bool,
    left_out: tuple[str, ...],
    shown: int,
) -> None:
    """`shown` is how many embeddings: one of the picture, four base ones, nine of the map."""
    encoder, pictures, reader = stand_ins.Cells(), Pictures(made), Causal(model)
    learner = adapter.learner(
        pictures, encoder, reader, None, 0, Wanted(lora=lora, left_out=left_out)
    )
    batches = PictureBatches(pictures, encoder, CONFIG, size=4, course=Course(maps=not left_out))
    settings = TrainSettings(steps=3, rate=0.01)
    before = {name: t.clone() for name, t in learner.adapter_state().items()}
    train(learner, batches, settings, tmp_path / "training")
    after = learner.adapter_state()
    idle = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert len({name.partition(".")[0] for name in after}) == 3 - len(left_out) + lora
    # Without a decoder there is no map whose cells could be embedded.
    assert all(name.startswith("prompt_learner.") for name in idle)
    assert bool(idle) == (left_out == ALL_OUT[1:])
    adapter.write(tmp_path, learner, [settings], "")

    detector: Any = package.load(
        "anomalygpt",
        encoder=encoder,
        language_model=str(model),
        adapter=str(tmp_path),
        device="cpu",
    )
    sample = batches.example(1).sample
    _, _, standing = batches.seen([sample])
    slots = prompts.prompt("Is there any anomaly in the image?")
    maps = [] if "decoder" in left_out else [np.linspace(0, 1, 112 * 112, dtype=np.float32)]
    maps = [scores.reshape(112, 112) for scores in maps]
    (rows,) = detector.shown([sample], detector._see([sample.image]), maps)
    assert len(rows) == shown
    with torch.no_grad():
        seen = torch.from_numpy(np.stack(maps))[None] if maps else None
        (turn,) = learner.turns(standing, seen, [slots])
        used = arranged(detector.language_model, rows, slots)
        logits = [
            next(causal._steps.run([one], slots.before, 1))
            for causal, one in ((learner.language_model, turn), (detector.language_model, used))
        ]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-4)
    (found,) = detector.predict([sample])
    assert found.decided_by == "language model"
    assert bool(found.maps) == ("decoder" not in left_out)
    assert bool(detector.language_model.lora) == lora == bool(learner.changes)
    said = (tmp_path / card.FILE).read_text()
    assert ("rank 32, alpha 32" in said) == lora
    assert f"| left out | {', '.join(left_out) or 'nothing'} |" in said
    samples.write(tmp_path, 3, learner, batches)


def test_without_maps_no_question_is_about_one(made: Path, stand_ins: ModuleType) -> None:
    encoder, pictures = stand_ins.Cells(), Pictures(made)
    batches = PictureBatches(pictures, encoder, CONFIG, size=8, course=Course(alone=8, maps=False))
    assert all(batches(step).decoded == tuple(range(8)) for step in range(3))
    assert sum(row < 0 for row in batches(3).decoded) == 2  # about other things


def test_an_encoder_gives_the_decoder_quarters_of_its_depth(
    made: Path, stand_ins: ModuleType, reader: Causal
) -> None:
    class Deep(stand_ins.Cells):  # type: ignore[name-defined,misc]
        depth = 12

        def encode(self, images: Any, *, layers: Any, size: int) -> Any:
            found = super().encode(images, layers=(1,), size=size)
            return [Features(f.class_token, dict.fromkeys(layers, f.patches[1])) for f in found]

    class Uneven(stand_ins.Cells):  # type: ignore[name-defined,misc]
        def encode(self, images: Any, *, layers: Any, size: int) -> Any:
            found = super().encode(images, layers=layers, size=size)
            return [replace(f, patches={**f.patches, 1: f.patches[1][..., :9]}) for f in found]

    assert adapter.learner(Pictures(made), Deep(), reader, None, 0, WANTED).config.layers == (
        3,
        6,
        9,
        12,
    )
    with pytest.raises(OptionError, match="9, 13 values a token"):
        adapter.learner(Pictures(made), Uneven(), reader, None, 0, WANTED)


def test_a_sheet_shows_picture_mask_map_and_words(
    batches: PictureBatches, learner: Learner, tmp_path: Path
) -> None:
    tokens, _, _ = batches.seen([batches.example(n).sample for n in range(4)])
    with torch.no_grad():
        maps = learner.decoded(tokens).numpy()
    samples.write(tmp_path, 7, learner, batches)
    sheet = np.asarray(PIL.Image.open(tmp_path / "samples" / "step-000007.png")).astype(int)
    assert len(sheet) == 4 * 212
    for number in range(4):
        example, row = batches.example(number), sheet[212 * number : 212 * (number + 1)]
        height, width = example.sample.image.shape[:2]
        tall = round(200 * height / max(height, width))
        assert example.mask is not None
        tiles = (example.sample.image.mean(2), 255 * example.mask, 255 * maps[number, 0])
        for place, tile in enumerate(tiles):
            left = 12 + 212 * place
            drawn = row[12 : 12 + tall, left : left + round(200 * width / max(height, width))]
            assert drawn.mean() == pytest.approx(tile.mean(), abs=4)
        words = row[:, 3 * 212 + 12 :]
        assert (words < 128).sum() > 200


def test_the_card_tells_what_was_done(tmp_path: Path) -> None:
    settings = TrainSettings(steps=100, rate=0.002, seed=4)
    log = [
        {"step": n, "loss": 1.0, "parts": {"dice": 1 / n}, "rate": 0.1, "seconds": 6.0}
        for n in range(1, 41)
    ]
    path = card.write(
        tmp_path,
        title="An adapter",
        facts={"learnt from": "a | b\nc"},
        stages=[settings],
        logs=[log],  # type: ignore[list-item]
        command="blemish train --seed 4",
    )
    text = path.read_text()
    assert path == tmp_path / "README.md"
    assert text.startswith("# An adapter\n")
    assert "| learnt from | a \\| b c |" in text
    assert "| steps | 40 of 100, in 4 min |" in text
    mean = sum(1 / n for n in range(21, 41)) / 20
    assert f"| loss, dice | {mean:.3f}, mean of the last 20 steps |" in text
    assert "```console\nblemish train --seed 4\n```" in text


def test_how_long_and_how_fast() -> None:
    assert plans.steps(3629, 50, 16, True) == 11341  # 3,629 x 50 / 16, rounded up
    assert plans.steps(3629, None, 16, False) == 11341
    assert [plans.steps(8, n, 16, True) for n in (None, 1, 4)] == [300, 1, 2]
    assert plans.steps(8, None, 16, False) == 600
    assert [plans.alone(n, False) for n in (2, 600, 11341)] == [1, 300, 300]
    assert plans.alone(600, True) == 0
    new = plans.settings(300, rate=0.02, seed=3, minutes=2)
    assert (new.betas, new.weight_decay, new.steps) == ((0.9, 0.95), 1e-3, 300)
    assert (new.rate, new.seed, new.minutes, new.stage) == (0.02, 3, 2, 1)


def test_an_adapter_that_was_not_trained_there_is_left_alone(
    learner: Learner, tmp_path: Path
) -> None:
    adapter.check_out(tmp_path / "new")
    _adapter.write(tmp_path, learner.config, learner.modules)
    with pytest.raises(OutputError, match="--start"):
        adapter.check_out(tmp_path)
