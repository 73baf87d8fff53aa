"""Endpoints that hang, break, refuse, stammer or talk of the key."""

from __future__ import annotations

import email.utils
import logging
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from blemish.errors import AccessError, ChatError, OptionError
from blemish.llms import _endpoint, openai_api
from blemish.llms.openai_api import OpenAIChat
from blemish.types import Message

Models = Callable[..., OpenAIChat]
HELLO = [Message("user", "What is wrong?")]
CANARY = "sk-canary-7f3a9c"


def act(module: ModuleType, what: str) -> Any:
    """A fault by name, since the server's module is only there when tests run."""
    if what.isdigit():
        return module.error(int(what))
    bodies = {
        "garbage": module.GARBAGE,
        "not an object": module.Act(body=b"[]"),
        "empty": module.Act(body=b""),
        "page": module.Act(body=b"<html>Bad gateway</html>"),
        "deep": module.Act(body=b"[" * 100_000),
        "no choices": module.Act(body={"id": "1", "choices": []}),
        "null choices": module.Act(body={"choices": None}),
        "odd choices": module.Act(body={"choices": ["yes"]}),
        "no message": module.Act(body={"choices": [{"finish_reason": "stop"}]}),
        "error body": module.Act(body={"error": {"message": "Overloaded", "code": 502}}),
        "error in words": module.Act(body={"error": "model runner has stopped"}),
        "error in choice": module.Act(body={"choices": [{"error": {"message": "Upstream"}}]}),
        "drop": module.DROP,
        "cut": module.CUT,
    }
    return bodies[what]


CURABLE = [
    *(
        "408",
        "409",
        "429",
        "500",
        "503",
        "529",
        "garbage",
        "not an object",
        "empty",
        "page",
        "deep",
    ),
    *("no choices", "null choices", "odd choices", "no message", "error body", "error in words"),
    *("error in choice", "drop", "cut"),
]
UNCHARGED = {"408", "409", "429", "500", "503", "529"}


@pytest.mark.parametrize("what", CURABLE)
def test_it_is_asked_again_and_answers(
    stub_server: ModuleType, model_at: Models, what: str
) -> None:
    with stub_server.Server([act(stub_server, what)] * 2) as server:
        reply = model_at(server, retries=2, max_tokens=100).chat(HELLO)
    assert reply.text == "No anomaly."
    assert len(server.asked) == 3
    assert reply.usage.model_calls == (1 if what in UNCHARGED else 3)
    answered = (100 * 2.5 + 10 * 10) / 1e6
    if what in UNCHARGED:
        assert reply.usage.cost == pytest.approx(answered)
    else:
        assert reply.usage.cost > answered + 2 * 100 * 10 / 1e6


@pytest.mark.parametrize("what", CURABLE)
def test_it_is_given_up_after_a_bounded_number_of_times(
    stub_server: ModuleType, model_at: Models, what: str
) -> None:
    with stub_server.Server([act(stub_server, what)] * 9) as server:
        with pytest.raises(ChatError, match="gave no answer 3 times") as caught:
            model_at(server, retries=2).chat(HELLO)
        assert len(server.asked) == 3
    assert "gpt-4o at http://127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (400, "The image is broken", "image is broken"),
        (401, "Incorrect API key", "OPENAI_API_KEY"),
        (403, "No access", "may use this model"),
        (404, "model 'gpt-9' not found", "base_url"),
        (413, "Too large", "image_side"),
        (429, "You exceeded your current quota", "credit is used up"),
    ],
)
def test_what_asking_again_cannot_cure_is_an_error_at_once(
    stub_server: ModuleType, model_at: Models, status: int, words: str, advice: str
) -> None:
    code = "insufficient_quota" if status == 429 else None
    with stub_server.Server([stub_server.error(status, words, code=code)]) as server:
        with pytest.raises(ChatError, match=advice) as caught:
            model_at(server).chat(HELLO)
        assert len(server.asked) == 1
    assert words in str(caught.value)
    # What every other question would meet as well.
    assert isinstance(caught.value, AccessError) == (status in (401, 404, 429))


def test_a_model_that_was_stopped_asks_nothing_more(
    stub_server: ModuleType, model_at: Models
) -> None:
    """The question under way is answered; one that waits for another try is given up."""
    acts = [stub_server.Act(delay=0.5), *[stub_server.error(500, "oh")] * 9]
    with stub_server.Server(acts) as server, ThreadPoolExecutor() as pool:
        model = model_at(server, retries=9)
        first = pool.submit(model.chat, HELLO)
        while not server.asked:
            time.sleep(0.01)
        second = pool.submit(model.chat, HELLO)
        while len(server.asked) < 2:
            time.sleep(0.01)
        begun = time.monotonic()
        model.stop()
        assert first.result().text
        with pytest.raises(ChatError, match="told to stop"):
            second.result()
        asked = len(server.asked)
        with pytest.raises(ChatError, match="told to stop"):
            model.chat(HELLO)
        assert len(server.asked) == asked < 9
        assert time.monotonic() - begun < 5


def test_an_error_200_that_asking_again_cannot_cure(
    stub_server: ModuleType, model_at: Models
) -> None:
    body = {"object": "error", "message": "Context length exceeded", "code": 400}
    with stub_server.Server([stub_server.Act(body=body)] * 2) as server:
        with pytest.raises(ChatError, match="answered 200 with an error: Context length exceeded"):
            model_at(server).chat(HELLO)
        assert len(server.asked) == 1


@pytest.mark.parametrize("how", ["HANG", "TRICKLE"])
def test_an_endpoint_that_hangs_is_cut_off(
    stub_server: ModuleType, model_at: Models, how: str
) -> None:
    with stub_server.Server([getattr(stub_server, how)] * 2) as server:
        started = time.monotonic()
        with pytest.raises(ChatError, match=r"2 times.* no whole answer came within 0\.2 s"):
            model_at(server, timeout=0.2, retries=1).chat(HELLO)
    assert time.monotonic() - started >= 0.4


def test_after_a_hang_it_is_asked_again(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server([stub_server.HANG]) as server:
        # A loaded machine may let more than one time-out pass.
        assert model_at(server, timeout=0.5, retries=50).chat(HELLO).text == "No anomaly."


def test_nobody_there(model_at: Models) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        model = OpenAIChat(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1", retries=1)
        with pytest.raises(ChatError, match="connection failed") as caught:
            model.chat(HELLO)
    model.close()
    assert "2 times" in str(caught.value)
    assert model.budget.made == 0


@pytest.mark.parametrize("header", ["0.3", "ms"])
def test_it_waits_as_long_as_it_is_asked_to(
    stub_server: ModuleType, model_at: Models, header: str
) -> None:
    told = {
        "0.3": {"Retry-After": "0.3"},
        "ms": {"retry-after-ms": "300", "Retry-After": "900"},
    }[header]
    busy = stub_server.Act(status=429, body={"error": {"message": "Slow down"}}, headers=told)
    with stub_server.Server([busy]) as server:
        model_at(server).chat(HELLO)
    assert server.at[1] - server.at[0] >= 0.3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_how_long_an_endpoint_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert _endpoint.retry_after(headers) == seconds


def test_an_endpoint_may_ask_to_wait_until_a_time() -> None:
    date = email.utils.formatdate(time.time() + 1000, usegmt=True)
    assert 900 < (_endpoint.retry_after({"retry-after": date}) or 0) <= 1000


def test_it_does_not_wait_for_hours(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server([stub_server.error(429, retry_after=7200)]) as server:
        with pytest.raises(ChatError, match=r"asks to wait 7,200 s, more than the 120 s"):
            model_at(server).chat(HELLO)
        assert len(server.asked) == 1


def test_pauses_grow_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_api, "FIRST_PAUSE", 0.5)
    model = OpenAIChat()
    for failed, most in ((1, 0.5), (2, 1.0), (4, 4.0), (9, 20.0)):
        pauses = {model._pause(failed, None, "") for _ in range(50)}
        assert most / 2 <= min(pauses) < max(pauses) <= most
    assert {10 <= model._pause(1, 10.0, "") <= 11 for _ in range(50)} == {True}


# Every way in which an endpoint's words, or the SDK's, could carry the key outside.
@pytest.mark.parametrize(
    "what", ["401", "echo", "garbage echo", "hang", "drop", "stream", "error body", "works"]
)
def test_the_key_is_nowhere_to_be_read(
    stub_server: ModuleType,
    model_at: Models,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    what: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = f"Incorrect API key provided: {CANARY}"
    script = {
        "401": stub_server.error(401, said),
        "echo": stub_server.error(400, f"temperature is not supported ({said})"),
        "garbage echo": stub_server.Act(body=said.encode()),
        "error body": stub_server.Act(body={"error": {"message": said, "code": 401}}),
        "hang": stub_server.HANG,
        "drop": stub_server.DROP,
        "stream": stub_server.Act(body=[{"error": {"message": said}}]),
        "works": stub_server.Act(),
    }[what]
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    told, chain = "", []
    with stub_server.Server([script] * 3) as server:
        timeout = 2.0 if what == "hang" else 30.0
        model = model_at(server, temperature=0.0, retries=0, timeout=timeout)
        try:
            told += "".join(model.stream(HELLO)) if what == "stream" else repr(model.chat(HELLO))
        except ChatError as error:
            told += "".join(traceback.format_exception(error)) + repr(error)
            chain += [error.__cause__, error.__context__]
    assert server.keys[0] == f"Bearer {CANARY}"
    told += repr(model) + model.fingerprint + caplog.text + "".join(capfd.readouterr())
    told += repr([record.args for record in caplog.records])
    assert CANARY not in told
    assert set(chain) <= {None}


def test_the_key_of_an_argument_comes_first(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server() as server:
        model_at(server, api_key=f" {CANARY}\n").chat(HELLO)
    assert server.keys == [f"Bearer {CANARY}"]


def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(OptionError) as caught:
        OpenAIChat(api_key=f"{CANARY}\nX-Header: 1")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_password_in_the_address_is_not_shown() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}/v1"
        model = OpenAIChat(base_url=f"http://me:{CANARY}@{address}?token={CANARY}", retries=0)
        with pytest.raises(ChatError, match=address) as caught:
            model.chat(HELLO)
        model.close()
    assert CANARY not in str(caught.value) + repr(model)
    assert model.fingerprint == OpenAIChat(base_url=f"http://{address}").fingerprint
