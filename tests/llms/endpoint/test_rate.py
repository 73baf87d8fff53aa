"""No minute sees more than it may, as far as a bucket promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from blemish.llms.openai_api import OpenAIChat
from blemish.llms.rate import Bucket, Limits
from blemish.types import Message

HELLO = [Message("user", "What is wrong?")]


def test_five_seconds_worth_at_once_then_evenly() -> None:
    started = time.monotonic()
    bucket = Bucket(6000)  # 100 a second, 500 at once.
    bucket.take(500)
    assert time.monotonic() - started < 5
    bucket.take(20)
    assert time.monotonic() - started >= 0.2


def test_more_than_fits_is_drawn_on_credit() -> None:
    started = time.monotonic()
    bucket = Bucket(60_000)  # 1,000 a second, 5,000 at once.
    bucket.take(5200)
    bucket.take(100)
    assert time.monotonic() - started >= 0.3


def test_what_was_drawn_too_much_lets_those_who_wait_go_on() -> None:
    bucket = Bucket(60)  # 1 a second, 5 at once.
    bucket.take(600)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bucket.take, 1)
        assert not waiting.done()
        bucket.correct(599)
        waiting.result(30)


def test_what_was_drawn_too_little_is_owed() -> None:
    started = time.monotonic()
    bucket = Bucket(6000)
    bucket.take(400)
    bucket.correct(-120)
    bucket.take(1)
    assert time.monotonic() - started >= 0.2


def test_threads_share_one_bucket() -> None:
    started = time.monotonic()
    bucket = Bucket(6000)
    bucket.take(500)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bucket.take, [1] * 30))
    assert time.monotonic() - started >= 0.3


def test_without_limits_nobody_waits() -> None:
    started = time.monotonic()
    Limits(1, None, None).take(10**9)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", [False, True])
def test_requests_a_minute(
    stub_server: ModuleType, model_at: Callable[..., OpenAIChat], fault: bool
) -> None:
    # What is asked again counts as well.
    with stub_server.Server([stub_server.error(500)] * (4 if fault else 0)) as server:
        model = model_at(server, requests_per_minute=600)  # 10 a second, 50 at once.
        model._endpoint.connect()
        started = time.monotonic()
        model._meter._limits._requests.take(50)  # type: ignore[union-attr]
        for _ in range(1 if fault else 5):
            model.chat(HELLO)
    assert len(server.at) == 5
    assert server.at[-1] - started >= 0.5


def test_tokens_a_minute_are_settled_with_the_real_ones(
    stub_server: ModuleType, model_at: Callable[..., OpenAIChat]
) -> None:
    # 1,000 a second, 5,000 at once. A question is estimated at over 100,000 and takes 110: five in
    # turn would take minutes if estimates stood. 5,000 have to be there again before the last, so
    # that the 440 of those before it are waited for.
    with stub_server.Server() as server:
        started = time.monotonic()
        model = model_at(server, tokens_per_minute=60_000, max_tokens=100_000)
        for _ in range(5):
            model.chat(HELLO)
    assert 0.44 <= server.at[-1] - started < 60
