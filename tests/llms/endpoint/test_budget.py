"""A budget is not exceeded, whatever threads and endpoints do."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from blemish.errors import BudgetError, OptionError
from blemish.llms.budget import Budget
from blemish.llms.openai_api import OpenAIChat
from blemish.types import Message

Models = Callable[..., OpenAIChat]
HELLO = [Message("user", "What is wrong?")]


def test_what_was_set_aside_gives_way_to_what_it_cost() -> None:
    budget = Budget(money=1.0)
    budget.reserve(0.6)
    budget.settle(0.6, 0.1)
    budget.reserve(0.9)
    budget.settle(0.9, None)
    assert (budget.spent, budget.made) == (0.1, 1)
    with pytest.raises(BudgetError, match=r"0\.1 was spent in 1 call, .* up to 0\.91"):
        budget.reserve(0.91)


def test_calls_are_counted_too() -> None:
    budget = Budget(calls=2)
    for _ in range(2):
        budget.reserve(5.0)
        budget.settle(5.0, 0.0)
    with pytest.raises(BudgetError, match="budget of 2 calls"):
        budget.reserve(0.0)


def test_a_call_waits_while_others_may_leave_room_for_it() -> None:
    budget = Budget(money=1.0)
    budget.reserve(0.7)
    admitted = threading.Event()

    def second() -> None:
        budget.reserve(0.7)
        admitted.set()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(second)
        assert not admitted.wait(0.05)
        budget.settle(0.7, 0.2)
        assert admitted.wait(30)
        future.result()
        # Now it could only be exceeded: whoever waits is told so.
        third = pool.submit(budget.reserve, 0.7)
        budget.settle(0.7, 0.7)
        with pytest.raises(BudgetError):
            third.result(30)


def test_many_threads_never_exceed_it() -> None:
    budget = Budget(money=1.0, calls=500)
    draw = random.Random(0)
    costs = [draw.uniform(0, 0.02) for _ in range(400)]

    def spend(cost: float) -> float:
        try:
            budget.reserve(0.02)
        except BudgetError:
            return 0.0
        assert budget.spent <= 1.0
        budget.settle(0.02, cost)
        return cost

    with ThreadPoolExecutor(16) as pool:
        spent = sum(pool.map(spend, costs))
    assert budget.spent == pytest.approx(spent)
    assert 0.98 <= budget.spent <= 1.0


@pytest.mark.parametrize("options", [{"money": -1.0}, {"calls": -1}, {"money": float("nan")}])
def test_a_budget_below_nothing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="0 or more"):
        Budget(**options)  # type: ignore[arg-type]


def test_a_run_stops_before_its_money_is_spent(stub_server: ModuleType, model_at: Models) -> None:
    cost = (100 * 2.5 + 10 * 10) / 1e6
    with stub_server.Server() as server:
        budget = Budget(money=20.5 * cost)
        model = model_at(server, max_tokens=10, budget=budget)
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(model.chat, HELLO) for _ in range(60)]
        errors = [future.exception() for future in futures]
    assert {type(error) for error in errors} == {BudgetError, type(None)}
    assert budget.made == server.paid == errors.count(None)
    assert 18 <= budget.made <= 20
    assert budget.spent == pytest.approx(budget.made * cost)


def test_a_run_stops_before_its_calls_are_used(stub_server: ModuleType, model_at: Models) -> None:
    faults = [stub_server.error(429), stub_server.DROP, stub_server.GARBAGE]
    with stub_server.Server(faults) as server:
        model = model_at(server, budget=Budget(calls=4))
        assert model.chat(HELLO).usage.model_calls == 3
        model.chat(HELLO)
        with pytest.raises(BudgetError, match="budget of 4 calls stops here: 4 calls made"):
            model.chat(HELLO)
    # The 429 was turned down, not paid; what was dropped or garbled may have been.
    assert (len(server.asked), server.paid) == (5, 4)


def test_asking_again_stops_at_the_budget_too(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server([stub_server.GARBAGE] * 9) as server:
        with pytest.raises(BudgetError):
            model_at(server, budget=Budget(calls=2)).chat(HELLO)
        assert server.paid == 2


def test_models_may_share_a_budget(stub_server: ModuleType, model_at: Models) -> None:
    budget = Budget(calls=2)
    with stub_server.Server() as server:
        for name in ("gpt-4o", "gpt-4.1"):
            model_at(server, name, budget=budget).chat(HELLO)
        with pytest.raises(BudgetError):
            model_at(server, budget=budget).chat(HELLO)


def test_a_stream_counts(stub_server: ModuleType, model_at: Models) -> None:
    with stub_server.Server() as server:
        model = model_at(server, budget=Budget(calls=1))
        list(model.stream(HELLO))
        with pytest.raises(BudgetError):
            list(model.stream(HELLO))


def test_money_needs_a_price() -> None:
    with pytest.raises(OptionError, match="prices="):
        OpenAIChat("llava", budget=Budget(money=1.0), max_tokens=5)
    OpenAIChat("llava", budget=Budget(money=1.0), prices=(1.0, 2.0), max_tokens=5)


def test_money_bounds_an_answer_that_nothing_else_bounds(
    stub_server: ModuleType, model_at: Models
) -> None:
    with stub_server.Server() as server:
        model_at(server).chat(HELLO)
        model_at(server, budget=Budget(money=1.0)).chat(HELLO)
        model_at(server, budget=Budget(money=1.0), max_tokens=7).chat(HELLO)
        limits = [
            [value for name, value in asked.items() if name.startswith("max_")]
            for asked in server.asked
        ]
    assert limits == [[], [4096], [7]]


def test_an_unknown_cost_is_told(caplog: pytest.LogCaptureFixture) -> None:
    OpenAIChat("gpt-4o")
    OpenAIChat("llava", prices=(0, 0))
    assert not caplog.records
    OpenAIChat("llava")
    assert "No price is known for llava" in caplog.text


def test_an_endpoint_that_counts_more_than_estimated_is_believed(
    stub_server: ModuleType, model_at: Models
) -> None:
    usage = {"prompt_tokens": 50_000, "completion_tokens": 1}
    dear = stub_server.Act(body=stub_server.completion(usage=usage))
    with stub_server.Server([dear] * 9) as server:
        model = model_at(server, max_tokens=1, budget=Budget(money=0.2))
        model.chat(HELLO)
        with pytest.raises(BudgetError, match=r"up to 0\.125"):
            model.chat(HELLO)
        assert server.paid == 1
