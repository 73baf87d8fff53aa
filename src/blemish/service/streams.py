"""Blocking iterators as responses that arrive piece by piece, each in a thread of its own.

They may wait for minutes; in the pool that serves all other requests they would soon be all there
is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi.responses import StreamingResponse

from blemish.errors import BlemishError, ServiceError

T = TypeVar("T")
AT_ONCE = 64
"""Threads that may wait for something at the same time."""
_END = object()


class Streams:
    """The threads of an application that wait."""

    def __init__(self) -> None:
        self._waiting = 0

    async def call(self, work: Callable[[], T]) -> T:
        """What a blocking function returns. Raises ServiceError where too many wait already."""
        self._enter()
        try:
            return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
        finally:
            self._leave()

    async def pieces(self, source: Iterator[T]) -> AsyncIterator[T]:
        """What a blocking iterator yields. It is closed when nobody listens any more.

        Raises:
            ServiceError: too many wait already.
            Exception: what the iterator raises.
        """
        self._enter()
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[Any] = asyncio.Queue()
        room, left = threading.Semaphore(16), threading.Event()

        def tell(piece: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the server stopped meanwhile
                loop.call_soon_threadsafe(ready.put_nowait, piece)

        def pump() -> None:
            end: Any = _END
            try:
                for piece in source:
                    room.acquire()
                    if left.is_set():
                        break
                    tell(piece)
            except Exception as error:
                end = error
            finally:
                if close := getattr(source, "close", None):
                    close()
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._leave)
                tell(end)

        threading.Thread(target=pump, name="blemish-stream", daemon=True).start()
        try:
            while (piece := await ready.get()) is not _END:
                if isinstance(piece, Exception):
                    raise piece
                room.release()
                yield piece
        finally:
            left.set()
            room.release()

    def _enter(self) -> None:
        if self._waiting >= AT_ONCE:
            raise ServiceError(f"{AT_ONCE} requests wait for something already. Try again later.")
        self._waiting += 1

    def _leave(self) -> None:
        self._waiting -= 1


def event(data: Any, name: str = "") -> bytes:
    r"""One server-sent event; data is written as JSON, which has no line ends.

    >>> event({"text": "a"}, "piece")
    b'event: piece\ndata: {"text": "a"}\n\n'
    """
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def failed(error: BlemishError) -> bytes:
    """The event that ends a stream whose answer had begun when it failed."""
    return event({"error": type(error).__name__, "message": str(error)}, "failed")


def events(body: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events as a response, which no proxy is to hold back."""
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)
