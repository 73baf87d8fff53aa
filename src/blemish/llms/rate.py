"""How fast an endpoint is asked: connections at once, requests and tokens a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from blemish.errors import OptionError

_BURST = 5.0
"""Seconds' worth that may be saved up, so that no minute sees much more than its limit."""


class Bucket:
    """Fills evenly, is drawn from, and makes whoever finds it empty wait."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = max(1.0, self._rate * _BURST)
        self._level = self._capacity
        self._filled = time.monotonic()
        self._changed = threading.Condition()

    def take(self, amount: float) -> None:
        """Wait until so much is there, and draw it; more than fits is drawn on credit."""
        with self._changed:
            while (short := min(amount, self._capacity) - self._now()) > 0:
                self._changed.wait(short / self._rate)
            self._level -= amount

    def correct(self, amount: float) -> None:
        """Put back what was drawn too much; what was drawn too little (below 0) is owed."""
        with self._changed:
            self._level = min(self._capacity, self._now() + amount)
            self._changed.notify_all()

    def _now(self) -> float:
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._filled) * self._rate)
        self._filled = now
        return self._level


class Limits:
    """The limits of one endpoint; safe for any number of threads.

    Args:
        concurrency: questions under way at once.
        requests_per_minute: None for any number.
        tokens_per_minute: prompt and answer together; None for any number.
    """

    def __init__(
        self, concurrency: int, requests_per_minute: float | None, tokens_per_minute: float | None
    ) -> None:
        for name, value in (
            ("concurrency", concurrency),
            ("requests_per_minute", requests_per_minute),
            ("tokens_per_minute", tokens_per_minute),
        ):
            if value is not None and not value > 0:
                raise OptionError(f"{name}={value!r} came; expected more than 0.")
        self._slots = threading.BoundedSemaphore(concurrency)
        self._requests = None if requests_per_minute is None else Bucket(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Bucket(tokens_per_minute)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the connections."""
        with self._slots:
            yield

    def take(self, tokens: int) -> None:
        """Wait for one request with an estimated number of tokens."""
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)

    def settle(self, estimated: int, real: int) -> None:
        """Replace an estimate by the number of tokens that there really were."""
        if self._tokens:
            self._tokens.correct(estimated - real)
