"""Asking a language model many questions at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from blemish.errors import BudgetError
from blemish.types import ChatModel, Message, Reply

Result = TypeVar("Result")

AT_ONCE = 16
"""Questions under way at most, of a model that does not say how many it takes."""


@dataclass(frozen=True, eq=False)
class Call:
    """One question, with the arguments of `ChatModel.chat`."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    logprobs: int = 0
    attempt: int = 0


def pictures_at_once(model: ChatModel) -> int:
    """How many pictures to judge at the same time.

    A model may say by `concurrency` how many questions it answers at once, which it then holds
    itself to. Of such a model somewhat more pictures are under way, so that some can be divided and
    drawn while the others wait for their answer.
    """
    taken = _taken(model)
    return taken + taken // 4 if taken else AT_ONCE


def ask_all(model: ChatModel, calls: Iterable[Call]) -> list[Reply]:
    """One reply a call, in order; the calls may be made while the first are already under way.

    Where one fails, the others are waited for, so that what was paid reaches a cache.

    Raises:
        ChatError: a call got no answer; the first such, but a BudgetError before any other.
    """
    return each(model, (partial(_ask, model, call) for call in calls))


def each(model: ChatModel, jobs: Iterable[Callable[[], Result]]) -> list[Result]:
    """What each job gives, in order; many of them ask the model at the same time. As `ask_all`."""
    pool = ThreadPoolExecutor(_taken(model) or AT_ONCE, "ask")
    try:
        futures = [pool.submit(job) for job in jobs]
        pool.shutdown(wait=True)
    except BaseException:  # Ctrl-C too: what has not begun is not paid for
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise min(errors, key=lambda error: not isinstance(error, BudgetError))
    return [future.result() for future in futures]


def _taken(model: ChatModel) -> int | None:
    """How many questions a model answers at once, where it says so."""
    taken: int | None = getattr(model, "concurrency", None)
    return taken


def _ask(model: ChatModel, call: Call) -> Reply:
    return model.chat(
        call.messages, schema=call.schema, logprobs=call.logprobs, attempt=call.attempt
    )
