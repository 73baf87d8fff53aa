"""What a model rejects is left out, and remembered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from blemish.errors import ChatError
from blemish.llms.openai_api import OpenAIChat
from blemish.types import Message

Models = Callable[..., OpenAIChat]
HELLO = [Message("user", "What is wrong?")]
SCHEMA = {"type": "object", "properties": {"score": {"type": "number"}}}
WANTED: dict[str, dict[str, Any]] = {
    "temperature": {},
    "seed": {},
    "logprobs": {"logprobs": 5},
    "response_format": {"schema": SCHEMA},
}


@pytest.mark.parametrize("name", WANTED)
def test_what_a_model_rejects_is_left_out_and_remembered(
    stub_server: ModuleType, model_at: Models, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with stub_server.Server(rejects=[name]) as server:
        model = model_at(server, temperature=0.5, seed=1, retries=0)
        replies = [model.chat(HELLO, **WANTED[name]) for _ in range(3)]
    assert [name in body for body in server.asked] == [True, False, False, False]
    assert "top_logprobs" not in server.asked[-1]
    assert [reply.dropped for reply in replies] == [(name,)] * 3
    assert [reply.usage.model_calls for reply in replies] == [1, 1, 1]
    assert len([r for r in caplog.records if f"does not take {name}" in r.message]) == 1


@pytest.mark.parametrize(
    ("status", "words", "name"),
    [
        (403, "You are not allowed to request logprobs from this model", "logprobs"),
        (400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported", None),
        (422, "body.temperature: Extra inputs are not permitted", "temperature"),
    ],
)
def test_a_rejection_may_name_the_parameter_in_words_only(
    stub_server: ModuleType, model_at: Models, status: int, words: str, name: str | None
) -> None:
    name = name or "response_format"
    with stub_server.Server([stub_server.error(status, words, param=None)]) as server:
        model = model_at(server, temperature=0.0)
        assert model.chat(HELLO, **WANTED[name]).dropped == (name,)


def test_all_at_once_may_be_rejected(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server(rejects=[*WANTED, "max_tokens"]) as server:
        model = model_at(server, temperature=0.0, seed=1, max_tokens=5, retries=0)
        reply = model.chat(HELLO, schema=SCHEMA, logprobs=2)
    assert set(reply.dropped) == set(WANTED)
    assert set(server.asked[-1]) == {"model", "messages", "max_completion_tokens"}
    assert server.asked[-1]["max_completion_tokens"] == 5


def test_the_limit_of_tokens_is_never_given_up(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server(rejects=["max_tokens", "max_completion_tokens"]) as server:
        with pytest.raises(ChatError, match="max_completion_tokens"):
            model_at(server, max_tokens=5).chat(HELLO)
        assert len(server.asked) == 2


def test_threads_learn_together(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server(rejects=[*WANTED, "max_tokens"]) as server:
        model = model_at(server, temperature=0.0, seed=1, max_tokens=5, retries=0)
        with ThreadPoolExecutor(12) as pool:
            futures = [pool.submit(model.chat, HELLO, schema=SCHEMA, logprobs=2) for _ in range(48)]
        assert {future.result().dropped for future in futures} == {tuple(WANTED)}


def test_a_rejection_of_something_else_is_an_error_at_once(
    stub_server: ModuleType, model_at: Models
) -> None:
    wrong = stub_server.error(400, "Your temperature picture is broken.", param="messages")
    with (
        stub_server.Server([wrong]) as server,
        pytest.raises(ChatError, match="picture is broken"),
    ):
        model_at(server, temperature=0.0).chat(HELLO)
    assert len(server.asked) == 1
