"""Questions of many threads to a local model: which of them share a pass, and that it is unseen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.errors import ChatError
from blemish.llms.local import LocalChat
from blemish.types import Message


def question(text: str, seed: int | None = None) -> list[Message]:
    """A question, with a picture where a seed for one comes."""
    if seed is None:
        return [Message("user", text)]
    image = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    return [Message("user", text, (image,))]


def ask_at_once(model: LocalChat, asked: Sequence[list[Message]]) -> list[str]:
    """Replies, or errors, to questions that all wait while the model is busy."""

    def chat(one: list[Message]) -> str:
        try:
            return model.chat(one).text
        except ChatError as error:
            return str(error)

    with ThreadPoolExecutor(len(asked)) as pool:
        with model._together.turn:
            waiting = [pool.submit(chat, one) for one in asked]
            until = time.monotonic() + 20
            while len(model._together._waiting) < len(asked):
                assert time.monotonic() < until
                time.sleep(0.001)
        return [future.result() for future in waiting]


def count_passes(model: LocalChat, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each pass from now on holds."""
    sizes: list[int] = []
    generate = model._model.generate

    def counted(*, input_ids: Any, **rest: Any) -> Any:
        sizes.append(len(input_ids))
        return generate(input_ids=input_ids, **rest)

    monkeypatch.setattr(model._model, "generate", counted)
    return sizes


def test_threads_that_wait_together_share_passes(
    llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalChat(llava, max_new_tokens=12, batch_size=4)
    asked = [question(f"Part {i}{', rather long' * (i % 3)}?", i) for i in range(8)]
    want = [model.chat(one).text for one in asked]
    assert len(set(want)) == 8
    sizes = count_passes(model, monkeypatch)
    assert ask_at_once(model, asked) == want
    assert sizes == [4, 4]
    assert model._together._waiting == []


def test_what_cannot_share_a_pass_does_not(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalChat(llava, max_new_tokens=4, batch_size=4)
    asked = [question("One?", 1), question("None?"), question("One more?", 2)]
    want = [model.chat(one).text for one in asked]
    warm = LocalChat(llava, max_new_tokens=4, batch_size=4, temperature=1.5)
    drawn = [warm.chat(one).text for one in asked]
    sizes = count_passes(model, monkeypatch)
    assert ask_at_once(model, asked) == want
    assert sorted(sizes) == [1, 2]
    sizes = count_passes(warm, monkeypatch)
    assert ask_at_once(warm, asked) == drawn
    assert sizes == [1, 1, 1]


def test_of_a_shared_pass_only_the_culprit_gets_the_error(llava: Path) -> None:
    model = LocalChat(llava, max_new_tokens=4, batch_size=4)
    asked = [question("Fine?"), question("x" * 300), question("And this?")]
    first, second, third = ask_at_once(model, asked)
    assert [first, third] == [model.chat(one).text for one in asked[::2]]
    assert "256 tokens together" in second
