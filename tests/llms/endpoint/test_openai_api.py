"""What is sent to an endpoint, and what is made of its answers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish.errors import ChatError, InputError, MissingExtraError, OptionError
from blemish.llms.openai_api import OpenAIChat
from blemish.types import ChatModel, Message

Models = Callable[..., OpenAIChat]
HELLO = [Message("user", "What is wrong?")]
PART = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
SCHEMA = {"type": "object", "properties": {"score": {"type": "number"}}}


def sent_image(part: dict[str, Any]) -> PIL.Image.Image:
    header, _, data = part["image_url"]["url"].partition(",")
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert header == f"data:image/{str(picture.format).lower()};base64"
    return picture


def test_it_is_a_chat_model() -> None:
    assert isinstance(OpenAIChat(), ChatModel)


def test_a_question_holds_what_was_asked_for(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server() as server:
        model = model_at(server, temperature=0.0, max_tokens=7, extra={"top_k": 3})
        reply = model.chat([Message("system", "Be brief."), *HELLO])
    body = server.asked[0]
    assert body["model"] == "gpt-4o"
    assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.0, 7, 3)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is wrong?"},
    ]
    assert "seed" not in body
    assert "response_format" not in body
    assert reply.text == "No anomaly."
    assert (reply.ended, reply.model, reply.dropped) == ("stop", "stub-2026-11-01", ())
    assert (reply.usage.model_calls, reply.usage.tokens_in, reply.usage.tokens_out) == (1, 100, 10)
    assert reply.usage.cost == pytest.approx((100 * 2.5 + 10 * 10) / 1e6)
    assert reply.usage.seconds["language model"] > 0
    assert server.keys == ["Bearer none"]


@pytest.mark.parametrize(
    ("options", "size", "kind", "detail"),
    [
        ({}, (90, 60), "PNG", "auto"),
        ({"image_side": 45, "detail": "high"}, (45, 30), "PNG", "high"),
        ({"image_side": 200, "image_format": "jpeg", "detail": "low"}, (90, 60), "JPEG", "low"),
    ],
)
def test_images_come_before_the_text_as_data_urls(
    stub_server: ModuleType,
    model_at: Models,
    options: dict[str, Any],
    size: tuple[int, int],
    kind: str,
    detail: str,
) -> None:
    with stub_server.Server() as server:
        model_at(server, **options).chat([Message("user", "And this?", (PART, 255 - PART))])
    first, second, text = server.asked[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "And this?"}
    assert [part["image_url"]["detail"] for part in (first, second)] == [detail, detail]
    picture = sent_image(first)
    assert (picture.size, picture.format) == (size, kind)
    if options == {}:
        assert np.array_equal(np.asarray(picture), PART)
        assert np.array_equal(np.asarray(sent_image(second)), 255 - PART)


def test_only_the_user_shows_images(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server() as server, pytest.raises(InputError, match="the user only"):
        model_at(server).chat([Message("assistant", "Look.", (PART,)), *HELLO])
    assert server.asked == []


def test_a_name_that_is_no_utf_8_can_be_asked_about(
    stub_server: ModuleType, model_at: Models
) -> None:
    with stub_server.Server() as server:
        model_at(server).chat([Message("user", "An image of tornillo-\udcf1.")])
    assert server.asked[0]["messages"][0]["content"] == "An image of tornillo-?."


def test_a_schema_goes_out_as_a_json_schema(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server() as server:
        model_at(server).chat(HELLO, schema=SCHEMA)
    form = server.asked[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}


def test_repeated_questions_have_seeds_of_their_own(
    stub_server: ModuleType, model_at: Models
) -> None:
    with stub_server.Server() as server:
        model = model_at(server, seed=40)
        for attempt in range(3):
            model.chat(HELLO, attempt=attempt)
    assert [body["seed"] for body in server.asked] == [40, 41, 42]


def test_tokens_have_their_probabilities(stub_server: ModuleType, model_at: Models) -> None:
    content = [
        {"token": "0.", "logprob": -0.1, "top_logprobs": [{"token": "1.", "logprob": -2.5}]},
        {"token": "9", "logprob": -0.2, "top_logprobs": []},
    ]
    answer = stub_server.completion("0.9", logprobs={"content": content})
    with stub_server.Server([stub_server.Act(body=answer)]) as server:
        reply = model_at(server).chat(HELLO, logprobs=50)
    assert (server.asked[0]["logprobs"], server.asked[0]["top_logprobs"]) == (True, 20)
    assert [(t.text, t.logprob, dict(t.others)) for t in reply.tokens] == [
        ("0.", -0.1, {"1.": -2.5}),
        ("9", -0.2, {}),
    ]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        "none",
        {"content": None},
        {"content": [{"token": "a", "logprob": math.nan}]},
        {"content": [{"token": "a", "logprob": -1.0}, {"token": None, "logprob": -1.0}]},
    ],
)
def test_half_read_probabilities_are_none(
    stub_server: ModuleType, model_at: Models, logprobs: Any
) -> None:
    answer = stub_server.completion("0.9", logprobs=logprobs)
    with stub_server.Server([stub_server.Act(body=answer)]) as server:
        assert model_at(server).chat(HELLO, logprobs=5).tokens == ()


@pytest.mark.parametrize(
    ("answer", "ended", "text"),
    [
        ({"text": None, "message": {"refusal": "I cannot."}}, "refused", "I cannot."),
        ({"text": "", "finish_reason": "content_filter"}, "refused", ""),
        ({"text": "region 1: 0.", "finish_reason": "length"}, "length", "region 1: 0."),
        ({"text": None}, "stop", ""),
        ({"text": [{"type": "text", "text": "a"}, {"type": "image"}, 7]}, "stop", "a"),
        ({"text": "normal", "finish_reason": "eos"}, "stop", "normal"),
        ({"text": "Kratzer 划痕 🔩"}, "stop", "Kratzer 划痕 🔩"),
    ],
)
def test_how_an_answer_ended(
    stub_server: ModuleType, model_at: Models, answer: dict[str, Any], ended: str, text: str
) -> None:
    act = stub_server.Act(body=stub_server.completion(answer.pop("text"), **answer))
    with stub_server.Server([act]) as server:
        reply = model_at(server).chat(HELLO)
    assert (reply.ended, reply.text) == (ended, text)


def test_an_answer_that_counts_no_tokens_costs_what_was_set_aside(
    stub_server: ModuleType, model_at: Models
) -> None:
    act = stub_server.Act(body=stub_server.completion(usage={"prompt_tokens": "many"}))
    with stub_server.Server([act]) as server:
        reply = model_at(server, max_tokens=1000).chat(HELLO)
    assert (reply.usage.tokens_in, reply.usage.model_calls) == (0, 1)
    assert 1000 * 10 / 1e6 < reply.usage.cost < 1000 * 10 / 1e6 + 300 * 2.5 / 1e6


@pytest.mark.parametrize(
    "change",
    [
        {"name": "gpt-4.1"},
        {"base_url": "http://localhost:2/v1"},
        {"temperature": 0.1},
        {"seed": 2},
        {"max_tokens": 9},
        {"detail": "high"},
        {"image_side": 512},
        {"image_format": "jpeg"},
        {"extra": {"top_k": 1}},
    ],
)
def test_the_fingerprint_changes_with_what_shapes_an_answer(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {"base_url": "http://localhost:1/v1"}
    assert OpenAIChat(**base | change).fingerprint != OpenAIChat(**base).fingerprint


def test_the_fingerprint_is_the_same_whatever_does_not() -> None:
    one = OpenAIChat(api_key="a", timeout=1, retries=0, concurrency=1, prices=(1, 1))
    assert one.fingerprint == OpenAIChat(api_key="b").fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 3.0},
        {"temperature": math.nan},
        {"max_tokens": 0},
        {"detail": "higher"},
        {"image_side": 0},
        {"image_format": "bmp"},
        {"timeout": 0.0},
        {"retries": -1},
        {"concurrency": 0},
        {"requests_per_minute": 0.0},
        {"prices": (1.0, -1.0)},
        {"prices": (1.0,)},
        {"extra": {"max_tokens": 9}},
        {"base_url": "localhost:11434"},
        {"api_key": "sk-\u00e9"},
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        OpenAIChat(**options)


def test_openai_itself_needs_a_key(model_at: Models) -> None:
    with pytest.raises(OptionError, match="OPENAI_API_KEY"):
        OpenAIChat().chat(HELLO)


def test_the_sdk_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, stub_server: ModuleType, model_at: Models
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with stub_server.Server() as server:
        model = model_at(server)
        with pytest.raises(MissingExtraError, match=r'pip install "blemish\[llm\]"'):
            model.chat(HELLO)
        assert model.budget.made == 0


def test_no_more_questions_at_once_than_allowed(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server(delay=0.02) as server:
        model = model_at(server, concurrency=3)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(model.chat, [HELLO] * 20))
    assert server.most <= 3
    assert len(server.asked) == 20


def test_an_answer_without_end_is_not_kept(
    stub_server: ModuleType, model_at: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blemish.llms._endpoint._LARGEST", 1000)
    act = stub_server.Act(body=stub_server.completion("a" * 5000))
    with stub_server.Server([act]) as server, pytest.raises(ChatError, match="1,000 bytes"):
        model_at(server).chat(HELLO)


def test_questions_of_threads_do_not_mix(stub_server: ModuleType, model_at: Models) -> None:
    def echo(body: dict[str, Any]) -> Any:
        return stub_server.Act(body=stub_server.completion(body["messages"][0]["content"]))

    with stub_server.Server(echo) as server:
        model = model_at(server)
        texts = [str(n) for n in range(64)]
        with ThreadPoolExecutor(8) as pool:
            replies = pool.map(lambda text: model.chat([Message("user", text)]), texts)
        assert [reply.text for reply in replies] == texts
