"""Threads that do what the store says is left to do, and live on whatever happens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from blemish.errors import BlemishError
from blemish.service.shop import News

_log = logging.getLogger(__name__)
_PATIENCE = 5.0
"""Seconds after which a thread looks for what nobody told it of: a database may keep a change and
go away before it says so."""
_LONGEST = 30.0


def steady(
    stop: threading.Event, news: News, topic: str, once: Callable[[], bool], what: str
) -> None:
    """Do one thing after another until `stop` is set and `topic` is told.

    Args:
        stop: looked at after each.
        news: of the station.
        topic: told when there may be something to do.
        once: does the next thing; False where there was none. What it raises only delays, so it
            must leave things as they were.
        what: is delayed, for the log.
    """
    pause = 0.0
    while True:
        seen = news.count(topic)
        if stop.is_set():
            return
        try:
            worked = once()
            pause = 0.0
        except Exception as error:
            pause = min(_LONGEST, 2 * pause + 0.25)
            level = logging.WARNING if isinstance(error, BlemishError) else logging.ERROR
            _log.log(level, "%s waits for %.1f s: %s", what, pause, type(error).__name__)
            _log.debug("%s", what, exc_info=error)
            stop.wait(pause)
            continue
        if not worked:
            news.wait(topic, seen, _PATIENCE)
