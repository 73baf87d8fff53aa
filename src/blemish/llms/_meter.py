"""What calls may cost and how many tokens they may take: set aside before, settled after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from blemish.errors import OptionError
from blemish.llms._answers import Answer, Unanswered
from blemish.llms.budget import Budget
from blemish.llms.prices import Price
from blemish.llms.rate import Limits

_USUAL_ANSWER = 1000
"""Tokens set aside in the minute's count where no max_tokens says how long an answer may be."""
_log = logging.getLogger(__name__)


@dataclass
class Bill:
    """What one question has cost so far, over all its attempts."""

    calls: int = 0
    cost: float = 0.0


@dataclass
class Call:
    """One request under way: what was set aside for it, and its answer once there is one."""

    prompt: int
    tokens: int
    most: float
    answer: Answer | None = None


class Meter:
    """Admits one model's calls and counts them; safe for any number of threads.

    Args:
        name: the model.
        price: None where it is not known.
        max_tokens: of an answer; None where it has no limit, which a budget in money needs.
        budget: what may be spent.
        limits: how fast.

    Raises:
        OptionError: the budget is in money, and no price is known.
    """

    def __init__(
        self, name: str, price: Price | None, max_tokens: int | None, budget: Budget, limits: Limits
    ) -> None:
        self._name, self._price, self._max_tokens = name, price, max_tokens
        self._budget, self._limits = budget, limits
        self._underestimated = 1.0
        self._correcting = threading.Lock()
        self._check()

    @contextmanager
    def call(self, prompt: int, bill: Bill) -> Iterator[Call]:
        """Wait for a connection, for the budget and for the limits, and count what follows.

        A call counts as charged unless it ends with an `Unanswered` that says it was not. Where
        no answer tells what it cost, it cost what was set aside.

        Args:
            prompt: its tokens at most, as estimated.
            bill: is added to.

        Raises:
            BudgetError: it could exceed the budget.
        """
        prompt = round(prompt * self._underestimated)
        most = self._price.most(prompt, self._max_tokens or 0) if self._price else 0.0
        call = Call(prompt, prompt + (self._max_tokens or _USUAL_ANSWER), most)
        with self._limits.slot():
            self._budget.reserve(most)
            charged = False
            try:
                self._limits.take(call.tokens)
                charged = True
                yield call
            except Unanswered as problem:
                charged = problem.charged
                if not charged:
                    self._limits.settle(call.tokens, 0)
                raise
            finally:
                cost = self._cost(call) if charged else None
                self._budget.settle(most, cost)
                bill.calls += charged
                bill.cost += cost or 0.0

    def _cost(self, call: Call) -> float:
        answer = call.answer
        if answer is None or answer.tokens_in is None or answer.tokens_out is None:
            return call.most
        self._limits.settle(call.tokens, answer.tokens_in + answer.tokens_out)
        if answer.tokens_in > call.prompt:
            self._correct(answer.tokens_in / max(call.prompt, 1))
        if self._price is None:
            return 0.0
        return self._price.of(answer.tokens_in, answer.tokens_out, answer.cached, answer.written)

    def _correct(self, ratio: float) -> None:
        """Estimate more from now on: an endpoint may count images in a way of its own."""
        with self._correcting:
            before = self._underestimated
            self._underestimated = max(before, before * ratio)
        _log.warning(
            "%s counts %.1f times as many prompt tokens as estimated; estimates are raised.",
            self._name,
            ratio,
        )

    def _check(self) -> None:
        money = self._budget.money
        if money is None:
            if self._price is None:
                _log.warning(
                    "No price is known for %s: its cost is reported as 0. prices=(money per "
                    "million tokens of prompt, of answer) gives one; (0, 0) for your own server.",
                    self._name,
                )
        elif self._price is None:
            raise OptionError(
                f"A budget of {money:g} needs the price of {self._name}, which is not in blemish's "
                "table. Give prices=(money per million tokens of prompt, of answer)."
            )
