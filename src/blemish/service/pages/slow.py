"""Work that takes longer than anybody looks at an empty page.

It is begun once and goes on while its page is left; whoever asks for the same again finds it as far
as it has come, or its result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from blemish.errors import ServiceError

_KEPT, _FAULTS_KEPT = 60.0, 5.0
"""Seconds for which a result and a fault stay: a page that waits asks once more to show it."""
_AT_ONCE = 8
_MOST_KEPT = 32
"""Results and faults; the oldest go first."""


@dataclass
class _Work:
    future: Future[Any] = field(default_factory=Future)
    ended: float | None = None


class Slow:
    """Works by name; of the same name one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works: dict[Hashable, _Work] = {}

    def get(self, name: Hashable, work: Callable[[], Any], seconds: float) -> Any:
        """What the work returns or raises. Begun unless it is under way or was done just now.

        Raises:
            TimeoutError: it takes longer than so many seconds; ask again.
            ServiceError: too much is being worked on.
        """
        with self._lock:
            self._forget()
            found = self._works.get(name)
            if found is None:
                if sum(one.ended is None for one in self._works.values()) >= _AT_ONCE:
                    raise ServiceError("Other versions are being compared. Ask again in a minute.")
                found = self._works[name] = _Work()
                run = threading.Thread(target=_run, args=(found, work), daemon=True)
                run.start()
        return found.future.result(seconds)

    def _forget(self) -> None:
        now = time.monotonic()
        ended = [
            (one.ended, _FAULTS_KEPT if one.future.exception() else _KEPT, name)
            for name, one in self._works.items()
            if one.ended is not None and one.future.done()
        ]
        ended.sort(key=lambda one: one[0], reverse=True)
        for place, (when, kept, name) in enumerate(ended):
            if now - when > kept or place >= _MOST_KEPT:
                del self._works[name]


def _run(of: _Work, work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # raised again where somebody waits for the result
        of.ended = time.monotonic()
        of.future.set_exception(error)
    else:
        of.ended = time.monotonic()
        of.future.set_result(result)
