"""Words that come piece by piece from something that may hang."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from blemish.errors import ChatError, ServiceError

LONGEST = 50_000
"""Characters of an answer; a model that goes on is cut off."""
AT_ONCE = 16
"""Answers under way. A model that hangs holds its place, so that hanging ones cannot pile up."""
_END = object()
_places = threading.BoundedSemaphore(AT_ONCE)


def timed(start: Callable[[], Iterator[str]], seconds: float, name: str) -> Iterator[str]:
    """The pieces of a stream, each within so many seconds.

    What is slower is left behind in its thread, which ends when the stream gives its next piece.

    Args:
        start: makes the stream; called in the thread as well, since that may load a model.
        seconds: for each piece.
        name: who speaks, for messages.

    Raises:
        ChatError: a piece did not come in time.
        ServiceError: too many answers are under way.
    """
    if not _places.acquire(blocking=False):
        raise ServiceError(
            f"{AT_ONCE} answers are under way or hang, and no more are begun. Ask again later."
        )
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left = threading.Event()

    def speak() -> None:
        try:
            _spoken(start(), said, left)
            said.put(_END)
        except BaseException as error:
            said.put(error)
        finally:
            _places.release()

    threading.Thread(target=speak, name="speak", daemon=True).start()
    try:
        yield from _taken(said, seconds, name)
    finally:
        left.set()


def _spoken(stream: Any, said: queue.SimpleQueue[Any], left: threading.Event) -> None:
    """Hand the pieces over until they end, or nobody is there any more."""
    try:
        for piece in stream:
            said.put(piece)
            if left.is_set():
                break
    finally:
        getattr(stream, "close", lambda: None)()


def _taken(said: queue.SimpleQueue[Any], seconds: float, name: str) -> Iterator[str]:
    length = 0
    while length <= LONGEST:
        try:
            piece = said.get(timeout=seconds)
        except queue.Empty:
            raise ChatError(
                f"{name} said nothing for {seconds:g} seconds. The inspection stands as it is; "
                "ask again, or another model."
            ) from None
        if piece is _END:
            return
        if isinstance(piece, BaseException):
            raise piece
        length += len(piece)
        yield piece
