"""The language model that a command names: its settings, its budget, its kept replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blemish.cli.asking import language_model
from blemish.errors import BlemishError, BudgetError, ChatError, OptionError
from blemish.llms.scripted import Scripted
from blemish.settings import settings
from blemish.types import ChatModel, Message

HELLO, BYE = [Message("user", "What is wrong?")], [Message("user", "And now?")]


@pytest.fixture
def server(
    module: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """An endpoint on this machine, and an empty cache."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings.cache_clear()
    with module(Path(__file__).parents[1] / "llms" / "server.py").Server() as running:
        yield running
    settings.cache_clear()


def named(name: str = "openai:gpt-4o", **given: Any) -> ChatModel:
    """As a command makes it of --llm, --llm-option and the two switches."""
    switches = {switch: given.pop(switch, False) for switch in ("no_cache", "cache_only")}
    return language_model(name, given, device="cpu", dtype="auto", **switches)


def test_replies_are_kept_unless_a_switch_says_otherwise(server: Any) -> None:
    at = {"base_url": server.url}
    named(**at).chat(HELLO)
    assert named(**at).chat(HELLO).cached
    assert named(**at, cache_only=True).chat(HELLO).cached
    assert len(server.asked) == 1
    with pytest.raises(ChatError, match="no reply in the cache"):
        named(**at, cache_only=True).chat(BYE)
    assert len(server.asked) == 1
    assert not named(**at, no_cache=True).chat(HELLO).cached
    assert len(server.asked) == 2
    with pytest.raises(OptionError, match="--no-cache and --cache-only came together"):
        named(**at, no_cache=True, cache_only=True)


@pytest.mark.parametrize(
    ("given", "calls"),
    # An answer of the server costs 120 millionths; before it, 250 are set aside: 200 tokens for
    # what a server adds, 16 and 14 for the message, 20 for an answer of 10 tokens.
    [({"max_calls": 2}, 2), ({"max_cost": 490e-6, "max_tokens": 10, "prices": [1, 2]}, 3)],
)
def test_a_budget_stops_the_questions(server: Any, given: dict[str, Any], calls: int) -> None:
    model = named(base_url=server.url, **given, no_cache=True)
    for _ in range(calls):
        model.chat(HELLO)
    with pytest.raises(BudgetError):
        model.chat(HELLO)
    assert len(server.asked) == calls


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"base_ulr": "x"}, "openai:gpt-4o has no option 'base_ulr'. Did you mean 'base_url'?"),
        ({"temperature": "hot"}, "Option temperature='hot' of openai:gpt-4o: "),
        ({"prices": 3}, "Option prices=3 of openai:gpt-4o: "),
        ({"detail": "higher"}, "Option detail='higher' of openai:gpt-4o: "),
        ({"base_url": "localhost:11434"}, "base_url 'localhost:11434' is no address"),
        ({"max_cost": "lots"}, "money='lots' came; expected a number"),
        ({"max_calls": -1}, "calls=-1 came; expected a number, 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_in_words(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError) as caught:
        named(**given)
    assert words in str(caught.value)


def test_a_key_of_digits_is_a_key(server: Any) -> None:
    named(base_url=server.url, api_key=12345).chat(HELLO)
    assert server.keys == ["Bearer 12345"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-4o", "expected KIND:NAME, such as openai:gpt-5"),
        ("opneai:gpt-4o", "Did you mean 'openai'?"),
        ("scripted:missing.json", "missing.json cannot be read"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(BlemishError) as caught:
        named(name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--llm-option", "seed=1"], "--llm-option came without a language model"),
        (["--no-cache"], "--no-cache came without a language model"),
        (["--llm", "scripted:said.json", "--detector", "darkness"], "darkness asks no language"),
    ],
)
def test_what_does_not_go_together_is_refused(
    blemish: Callable[..., Any], ten: Path, options: list[str], words: str
) -> None:
    Path("said.json").write_text("[]")
    said = blemish("inspect", "parts", *options)
    assert (said.code, said.out) == (2, "")
    assert words in said.err


def grid(*more: str) -> tuple[str, ...]:
    Path("said.json").write_text('{"": "No anomalies."}')
    options = ("--llm", "scripted:said.json", "--option", "regions=grid", "--option", "cells=4")
    return ("inspect", "parts", "--out", "run", *options, *more)


def test_a_spent_budget_keeps_and_shows_what_was_done(
    blemish: Callable[..., Any], ten: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Scripted.chat

    def chat(self: Scripted, *messages: Any, **how: Any) -> Any:
        if len(asked) >= 4:
            raise BudgetError("The budget of 4 calls stops here.")
        return plain(self, *messages, **how)

    with monkeypatch.context() as spent:
        spent.setattr(Scripted, "chat", chat)
        said = blemish(*grid())
    done = len(Path("run/inspections.jsonl").read_text().splitlines())
    assert said.code == 3
    assert f"{done} pictures: {done} normal" in said.out
    assert "The budget of 4 calls stops here. What was done is kept" in said.err
    assert Path("run/report.html").is_file()
    again = blemish(*grid())
    assert again.code == 0
    assert f"{done} from an earlier start" in again.out


def test_what_fails_alike_is_said_once(
    blemish: Callable[..., Any], ten: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chat(self: Scripted, *messages: Any, **how: Any) -> Any:
        raise ChatError("The server hangs.")

    monkeypatch.setattr(Scripted, "chat", chat)
    said = blemish(*grid())
    assert said.code == 2
    assert said.err.count("The server hangs.") == 1
    assert "10 files, such as " in said.err


def test_the_bill_is_shown(blemish: Callable[..., Any], ten: Path, asked: list[Any]) -> None:
    assert "s each; 10 calls\n" in blemish(*grid("--no-cache")).out
