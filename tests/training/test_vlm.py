"""What a vision-language model learns from: questions about pictures, and about other things."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from blemish.errors import OutputError
from blemish.images import read_image
from blemish.prompts import anomalygpt as prompts
from blemish.synthesis.procedural import write_set
from blemish.training import vlm
from blemish.training.curriculum import EVERY
from blemish.training.pictures import Pictures
from blemish.training.vlm import Batch, Batches


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("parts") / "wood"
    write_set(folder, "wood", train=6, good=0, anomalous=0, size=(96, 96))
    return Pictures(folder)


def same(first: Batch, second: Batch) -> bool:
    return first[1] == second[1] and all(
        a.text == b.text and all(map(np.array_equal, a.images, b.images))
        for (a,), (b,) in zip(first[0], second[0], strict=True)
    )


def test_a_number_has_the_same_batch_whatever_came_before(pictures: Pictures) -> None:
    batches = Batches(pictures, 2)
    second = batches(1)
    batches(0)
    assert same(batches(1), second)
    assert same(Batches(pictures, 2)(1), second)
    assert not same(batches(2), second)
    assert not same(Batches(pictures, 2, seed=1)(1), second)


def test_answers_are_true_of_the_pictures_each_of_which_is_shown_once(pictures: Pictures) -> None:
    batches, shown, told = Batches(pictures, 2), [], []
    for number in (0, 1, 2):
        conversations, answers = batches(number)
        for (message,), answer in zip(conversations, answers, strict=True):
            (image,) = message.images
            place = next(
                n
                for n in range(6)
                if np.array_equal(pictures.example(n, n % 2 == 1).sample.image, image)
            )
            shown.append(place)
            if prompts.read(answer).verdict:
                told.append((prompts.read(answer).verdict == "yes") == (place % 2 == 1))
    assert shown == list(range(6))
    assert told
    assert all(told)


def test_every_fourth_batch_is_about_other_things(pictures: Pictures) -> None:
    pairs = {pair.question: pair.answer for pair in prompts.dialogue()}
    batches = Batches(pictures, 2)
    for number in range(2 * EVERY):
        conversations, answers = batches(number)
        other = [pairs.get(message.text) for (message,) in conversations] == answers
        assert other == (number % EVERY == EVERY - 1)
        assert all(bool(message.images) != other for (message,) in conversations)


def test_pairs_with_and_without_pictures_are_not_mixed(pictures: Pictures, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (20, 30), "red").save(tmp_path / "red.png")
    pairs = [{"question": f"Plain {n}?", "answer": "No."} for n in range(3)]
    pairs += [{"question": f"Red {n}?", "answer": "Yes.", "image": "red.png"} for n in range(3)]
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps({"version": 1, "pairs": pairs}))
    batches, seen = Batches(pictures, 3, dialogue=prompts.dialogue(file)), set()
    for number in range(EVERY - 1, 10 * EVERY, EVERY):
        conversations, answers = batches(number)
        red = {message.text.startswith("Red") for (message,) in conversations}
        assert len(red) == 1
        assert set(answers) == ({"Yes."} if red == {True} else {"No."})
        for (message,) in conversations:
            assert [len(message.images)] == [int(*red)]
            for image in message.images:
                assert np.array_equal(image, read_image(tmp_path / "red.png"))
        seen |= red
    assert seen == {True, False}


def test_an_epoch_shows_each_picture_once(pictures: Pictures) -> None:
    for epochs, batch, accumulate in ((4, 6, 3), (3, 8, 1)):
        number = vlm.steps(len(pictures), epochs, batch) * accumulate
        shown = sum(n % EVERY != EVERY - 1 for n in range(number)) * (batch // accumulate)
        assert 0 <= shown - epochs * len(pictures) < 2 * batch


def test_an_adapter_from_elsewhere_is_not_overwritten(tmp_path: Path) -> None:
    vlm.check_out(tmp_path / "new")
    (tmp_path / vlm.CONFIG).write_text("{}")
    with pytest.raises(OutputError, match=r"holds an adapter.*--llm local:"):
        vlm.check_out(tmp_path)
