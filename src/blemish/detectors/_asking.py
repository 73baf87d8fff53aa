"""Asking a language model many questions at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from blemish.errors import BudgetError
from blemish.types import ChatModel, Message, Reply, Usage

AT_ONCE = 16
"""Questions under way at most; a model may hold itself to fewer."""


@dataclass(frozen=True, eq=False)
class Call:
    """One question, with the arguments of `ChatModel.chat`."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    logprobs: int = 0
    attempt: int = 0


def ask_all(model: ChatModel, calls: Iterable[Call]) -> list[Reply]:
    """One reply a call, in order; the calls may be made while the first are already under way.

    Where one fails, the others are waited for, so that what was paid reaches a cache.

    Raises:
        ChatError: a call got no answer; the first such, but a BudgetError before any other.
    """
    pool = ThreadPoolExecutor(AT_ONCE, "ask")
    try:
        futures = [pool.submit(_ask, model, call) for call in calls]
        pool.shutdown(wait=True)
    except BaseException:  # Ctrl-C too: what has not begun is not paid for
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise min(errors, key=lambda error: not isinstance(error, BudgetError))
    return [future.result() for future in futures]


def _ask(model: ChatModel, call: Call) -> Reply:
    return model.chat(
        call.messages, schema=call.schema, logprobs=call.logprobs, attempt=call.attempt
    )


def total(usages: Sequence[Usage]) -> Usage:
    """Calls, tokens, money and seconds of several usages together."""
    seconds: dict[str, float] = {}
    for usage in usages:
        for stage, spent in usage.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return Usage(
        model_calls=sum(u.model_calls for u in usages),
        tokens_in=sum(u.tokens_in for u in usages),
        tokens_out=sum(u.tokens_out for u in usages),
        cost=sum(u.cost for u in usages),
        seconds=seconds,
    )
