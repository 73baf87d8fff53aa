"""uvicorn with what it has no setting for: a client that stops in the middle is cut off."""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from blemish.errors import OptionError

HEADERS = 15.0
"""Seconds that a client has for the headers of a request, from connecting or their first byte."""
STUCK = 20.0
"""Seconds that a client has for taking what is ready for it."""
CONNECTIONS = 800
"""More are refused, before the process runs out of files."""
_GOODBYE = 10
"""Seconds that running requests have when the server stops."""


class Impatient(H11Protocol):
    """Closes connections on which a request is begun and not sent to the end of its headers, or of
    whose response nothing is taken.

    While the application serves a request, its guard watches over the body.
    """

    _cut: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send everything at once, and start to wait for headers."""
        super().connection_made(transport)
        # asyncio does it for its own sockets only. Headers and body go out one after the other, and
        # without it the body waits 40 ms for the client to acknowledge the headers.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # So that `pause_writing` is told of every byte that waits, the last ones too.
        transport.set_write_buffer_limits(0)
        self._cut = self.loop.call_later(HEADERS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Stop waiting where a request is being served, start where one has only begun."""
        super().data_received(data)
        served = self.cycle is not None and not self.cycle.response_complete
        if served:
            self._stop()
        elif self._cut is None:
            self._cut = self.loop.call_later(HEADERS, self.transport.abort)

    def pause_writing(self) -> None:
        """Wait until what is ready is taken: to close a connection, asyncio would wait for ever."""
        super().pause_writing()
        self._stuck = self.loop.call_later(STUCK, self.transport.abort)

    def resume_writing(self) -> None:
        """All was taken."""
        if self._stuck is not None:
            self._stuck.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        if self._stuck is not None:
            self._stuck.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request as uvicorn does, or for the rest of one that has begun."""
        self._stop()
        super().on_response_complete()
        if self.cycle.response_complete and self.conn.trailing_data[0]:
            self._cut = self.loop.call_later(HEADERS, self.transport.abort)

    def _stop(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OptionError: the address is taken, or is none of this computer's.
    """
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as cause:
        raise OptionError(
            f"The station cannot listen at {host}, port {port}: {cause.strerror or cause}. "
            "Choose another with --port, or stop what listens there."
        ) from cause


def address(listening: socket.socket) -> str:
    """What to type into a browser on this computer.

    >>> with listen("127.0.0.1", 0) as listening:
    ...     address(listening).rpartition(":")[0]
    'http://127.0.0.1'
    """
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, listening: socket.socket, *, show: bool = False) -> None:
    """Serve until a signal asks to stop.

    Args:
        app: what to serve.
        listening: where; closed at the end.
        show: open the page in a browser once it is there.
    """
    config: Any = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GOODBYE,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = uvicorn.Server(config)
    if show:
        threading.Timer(1.0, webbrowser.open, [address(listening)]).start()
    with listening:
        server.run(sockets=[listening])
