"""How many questions are under way: as many as the model takes, sixteen where it does not say."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from blemish.detectors._asking import Call, ask_all, pictures_at_once
from blemish.llms.cache import Cached
from blemish.llms.openai_api import OpenAIChat
from blemish.llms.scripted import Scripted
from blemish.types import ChatModel, Message


def endpoint(tmp_path: Path) -> ChatModel:
    model = OpenAIChat("m", base_url="http://localhost:1/v1", api_key="none", concurrency=20)
    return Cached(model, tmp_path)


def test_a_model_says_how_many_it_takes_also_through_a_cache(tmp_path: Path) -> None:
    assert pictures_at_once(endpoint(tmp_path)) == 25
    assert pictures_at_once(Scripted(lambda _: "yes")) == 16
    assert pictures_at_once(Cached(Scripted(lambda _: "yes"), tmp_path)) == 16


def test_a_list_of_replies_is_said_in_the_order_of_the_questions() -> None:
    model = Scripted([str(i) for i in range(40)])
    assert pictures_at_once(model) == 1
    replies = ask_all(model, [Call((Message("user", str(i)),)) for i in range(40)])
    assert [reply.text for reply in replies] == [asked[0].text for asked in model.asked]
    assert [asked[0].text for asked in model.asked] == [str(i) for i in range(40)]


@pytest.mark.parametrize("taken", [None, 20])
def test_so_many_questions_are_under_way(taken: int | None) -> None:
    together = threading.Barrier(taken or 16, timeout=20)
    most = under_way = 0
    guard = threading.Lock()

    def said(messages: object) -> str:
        nonlocal most, under_way
        with guard:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with guard:
            under_way -= 1
        return "yes"

    model = Scripted(said)
    if taken:
        model.concurrency = taken
    replies = ask_all(model, [Call((Message("user", str(i)),)) for i in range(2 * (taken or 16))])
    assert len(replies) == 2 * (taken or 16)
    assert most == (taken or 16)
