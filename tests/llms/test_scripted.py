"""The scripted model: what it says, what it remembers, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.errors import ChatError, InputError
from blemish.llms.scripted import Scripted
from blemish.types import ChatModel, Message, Reply, Token, Usage


def ask(text: str) -> list[Message]:
    return [Message("system", "Be brief."), Message("user", text)]


def test_a_list_is_said_in_order_and_then_runs_out() -> None:
    model = Scripted(["one", "two"], name="parrot")
    assert isinstance(model, ChatModel)
    assert [model.chat(ask("a")).text, model.chat(ask("b")).text] == ["one", "two"]
    with pytest.raises(ChatError, match="'parrot' has no reply left: it holds 2"):
        model.chat(ask("c"))


def test_it_remembers_what_it_was_sent() -> None:
    model = Scripted(lambda messages: f"{len(messages)} messages")
    picture = np.zeros((2, 3, 3), np.uint8)
    messages = [Message("user", "look", (picture,))]
    model.chat(messages)
    messages.append(Message("user", "said later"))
    model.chat(ask("b"), schema={"type": "object"}, logprobs=2, attempt=1)
    assert [len(question) for question in model.asked] == [1, 2]
    assert model.asked[0][0].images[0].shape == (2, 3, 3)
    assert model.asked[1][1].text == "b"


def test_a_rule_sees_the_messages_and_may_raise() -> None:
    def rule(messages: Sequence[Message]) -> str:
        if messages[-1].text == "hang":
            raise ChatError("It hangs.")
        return messages[-1].text.upper()

    model = Scripted(rule)
    assert model.chat(ask("crack?")).text == "CRACK?"
    with pytest.raises(ChatError, match="It hangs"):
        model.chat(ask("hang"))


def test_a_reply_is_passed_on_as_it_is() -> None:
    given = Reply("no", Usage(1, 5, 6, 0.5), "length", (Token("no", -0.5, {"no": -0.5}),), "gpt")
    assert Scripted([given]).chat(ask("a")) is given
    plain = Scripted(["yes"], name="parrot").chat(ask("a"))
    assert plain == Reply("yes", Usage(model_calls=1), "stop", (), "parrot")


def test_threads_get_each_reply_once() -> None:
    model = Scripted([str(i) for i in range(400)])
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: model.chat(ask("a")).text, range(400)))
    assert sorted(said, key=int) == [str(i) for i in range(400)]
    assert len(model.asked) == 400


def test_a_stream_is_the_reply_in_pieces() -> None:
    text = "  region 1:\n 0.9;  region 3: 0.7. "
    pieces = list(Scripted([text]).stream(ask("a")))
    assert "".join(pieces) == text
    assert len(pieces) > 3


def test_the_fingerprint_follows_the_script(tmp_path: Path) -> None:
    prints = {Scripted(["a"]).fingerprint, Scripted(["b"]).fingerprint}
    for number, script in enumerate([{"": "a"}, {"": "b"}, ["c"]]):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(script))
        prints.add(Scripted.from_file(path).fingerprint)
        assert Scripted.from_file(path).fingerprint in prints
    assert len(prints) == 5


def test_a_file_holds_a_list(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["ça", {"text": "no", "ended": "refused"}]), encoding="utf-8")
    model = Scripted.from_file(path)
    assert model.chat(ask("a")).text == "ça"
    assert model.chat(ask("b")).ended == "refused"


def test_a_file_holds_rules_of_which_the_first_that_fits_is_said(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    rules = {
        "bottle": "region 1: 0.9.",
        "a bottle": "never",
        "cut": {"text": "", "ended": "length"},
    }
    path.write_text(json.dumps(rules))
    model = Scripted.from_file(path)
    assert model.chat(ask("Is a bottle broken?")).text == "region 1: 0.9."
    assert model.chat(ask("cut")).ended == "length"
    with pytest.raises(ChatError, match=r"No rule of .*script.json fits the question 'a cable'"):
        model.chat(ask("a cable"))
    path.write_text(json.dumps(rules | {"": "nothing"}))
    assert Scripted.from_file(path).chat(ask("a cable")).text == "nothing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("3", "holds int; expected a list"),
        ("[3]", "the reply 3; expected a text"),
        ('{"a": {"text": 3}}', "expected a text"),
        ('[{"text": "a", "ended": "bored"}]', "stop, length, refused"),
        ('[{"text": "a", "score": 1}]', "expected a text"),
    ],
)
def test_a_file_that_is_no_script(tmp_path: Path, content: str, words: str) -> None:
    path: Any = tmp_path / "script.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        Scripted.from_file(path)
    with pytest.raises(InputError, match=r"nothing.json cannot be read"):
        Scripted.from_file(tmp_path / "nothing.json")
