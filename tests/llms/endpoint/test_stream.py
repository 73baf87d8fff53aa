"""Answers piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from blemish.errors import ChatError
from blemish.llms.openai_api import OpenAIChat
from blemish.types import Message

Models = Callable[..., OpenAIChat]
HELLO = [Message("user", "What is wrong?")]


def test_a_stream_says_the_whole_answer_in_pieces(
    stub_server: ModuleType, model_at: Models
) -> None:
    answer = stub_server.completion("Eine Delle oben links.")
    with stub_server.Server([stub_server.Act(body=answer)]) as server:
        model = model_at(server, seed=3)
        stream = model.stream(HELLO)
        assert server.asked == []
        pieces = list(stream)
    assert (len(pieces), "".join(pieces).strip()) == (4, "Eine Delle oben links.")
    assert (server.asked[0]["stream"], server.asked[0]["seed"]) == (True, 3)
    assert model.budget.spent == pytest.approx((100 * 2.5 + 10 * 10) / 1e6)


def test_closing_a_stream_closes_the_connection(stub_server: ModuleType, model_at: Models) -> None:
    piece = {"choices": [{"index": 0, "delta": {"content": "and "}}]}
    endless = stub_server.Act(body=[piece] * 10**6)
    with stub_server.Server([endless]) as server:
        model = model_at(server, concurrency=1)
        stream: Any = model.stream(HELLO)
        assert [next(stream), next(stream)] == ["and ", "and "]
        stream.close()
        assert server.left.wait(30)
        # Its connection and its place in the queue are free again.
        assert model.chat(HELLO).text == "No anomaly."


@pytest.mark.parametrize("rejected", ["stream_options", "max_tokens"])
def test_a_stream_does_without_what_is_rejected(
    stub_server: ModuleType, model_at: Models, rejected: str
) -> None:
    with stub_server.Server(rejects=[rejected]) as server:
        assert "".join(model_at(server, max_tokens=5).stream(HELLO)).strip() == "No anomaly."


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ({"how": "cut", "body": "whole"}, "broke off"),
        ({"body": [{"choices": [{"delta": {"content": "a"}}]}]}, "without saying so"),
        ({"body": [{"choices": [{"delta": {"content": "a"}}]}, b"{garb"]}, "no JSON object"),
        (
            {"body": [{"choices": [{"delta": {"content": "a"}}]}, {"error": {"message": "Out!"}}]},
            "Out!",
        ),
        (
            {"body": [{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}]},
            "content filter",
        ),
    ],
)
def test_a_stream_that_breaks_off_is_an_error(
    stub_server: ModuleType, model_at: Models, act: dict[str, Any], words: str
) -> None:
    if act.get("body") == "whole":
        act = act | {"body": [{"choices": [{"delta": {"content": "a"}}]}]}
    with stub_server.Server([stub_server.Act(**act)]) as server:
        with pytest.raises(ChatError, match=words):
            list(model_at(server).stream(HELLO))
        assert len(server.asked) == 1


def test_a_stream_is_asked_for_again_before_its_first_piece(
    stub_server: ModuleType, model_at: Models
) -> None:
    faults = [stub_server.error(429), stub_server.DROP, stub_server.Act(body=[])]
    with stub_server.Server(faults) as server:
        assert "".join(model_at(server).stream(HELLO)).strip() == "No anomaly."
    assert len(server.asked) == 4
