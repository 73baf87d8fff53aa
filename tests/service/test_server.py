"""uvicorn as the station runs it: who stops in the middle is cut off, others are served."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from blemish.errors import OptionError
from blemish.service import guard, server
from blemish.service.guard import Guard, Rules, hosts


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a small guarded application."""
    monkeypatch.setattr(server, "HEADERS", 0.5)
    monkeypatch.setattr(server, "STUCK", 0.5)
    monkeypatch.setattr(guard, "_SILENCE", 0.5)
    app = FastAPI()

    @app.post("/")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/{size}")
    async def large(size: int) -> Response:
        return Response(bytes(size))

    app.add_middleware(Guard, rules=Rules(hosts(), max_body=2**20))
    made: list[Any] = []
    original = uvicorn.Server

    def noted(config: Any) -> Any:
        made.append(original(config))
        return made[-1]

    monkeypatch.setattr(uvicorn, "Server", noted)
    listening = server.listen("127.0.0.1", 0)
    found = int(listening.getsockname()[1])
    thread = threading.Thread(target=server.run, args=(app, listening))
    thread.start()
    while not (made and made[0].started):
        time.sleep(0.01)
    yield found
    made[0].should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def closed_after(connection: socket.socket, data: bytes, drip: bytes = b"") -> float:
    """Seconds until the server closes the connection; `drip` is sent every 0.1 s."""
    began = time.monotonic()
    connection.settimeout(0.1)
    connection.sendall(data)
    while time.monotonic() - began < 5:
        with contextlib.suppress(TimeoutError):
            try:
                if not connection.recv(65536):
                    break
            except ConnectionError:
                break
        with contextlib.suppress(ConnectionError):
            connection.sendall(drip)
    return time.monotonic() - began


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "drip"),
    [
        (b"", b""),
        (b"POST / HT", b""),
        (HEAD, b""),
        (HEAD + b"X-A: ", b"a"),
        (HEAD + b"Content-Length: 0\r\n\r\n" + HEAD, b""),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", b""),
        (HEAD + b"Content-Length: 9999999\r\n\r\nabc", b"a"),
    ],
    ids=["nothing", "a line", "headers", "drips", "the second", "a body", "too much"],
)
def test_who_stops_in_the_middle_is_cut_off(port: int, data: bytes, drip: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert closed_after(connection, data, drip) < 3


def test_others_are_served_meanwhile(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(HEAD)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for size in (3, 100_000, 5):
                assert client.post("/", content=bytes(size)).json() == size


def test_no_answer_waits_for_an_acknowledgement(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    made = server.Impatient.connection_made

    def noted(self: Any, transport: Any) -> None:
        made(self, transport)
        option = socket.IPPROTO_TCP, socket.TCP_NODELAY
        seen.append(transport.get_extra_info("socket").getsockopt(*option))

    monkeypatch.setattr(server.Impatient, "connection_made", noted)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.post("/", content=b"abc").json() == 3
    assert seen
    assert all(seen)


def test_who_sends_too_much_still_reads_why(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 3000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(46):
                connection.sendall(bytes(2**16))
        connection.settimeout(5)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


class Watched(server.Impatient):
    """Notes the most bytes that ever waited for a client, and how many connections are left."""

    waited: ClassVar[list[int]] = []
    open: ClassVar[set[Any]] = set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        write = transport.write

        def noted(data: bytes) -> None:
            write(data)
            self.waited.append(transport.get_write_buffer_size())

        transport.write = noted
        self.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.open.discard(self)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    """In front of the fixture `port`: what its server does with connections."""
    monkeypatch.setattr(server, "Impatient", Watched)
    monkeypatch.setattr(Watched, "waited", [])
    monkeypatch.setattr(Watched, "open", set())
    return Watched


@pytest.mark.parametrize("drip", [0, 1])
@pytest.mark.parametrize("size", [60_000, 64 * 2**20], ids=["the rest", "much"])
@pytest.mark.parametrize("close", ["", "Connection: close\r\n"], ids=["kept", "closed"])
def test_who_takes_nothing_is_cut_off_and_little_is_kept_for_them(
    watched: type[Watched], port: int, size: int, close: str, drip: int
) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET /{size} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n".encode())
        began = time.monotonic()
        while time.monotonic() - began < 10 and not (watched.waited and not watched.open):
            time.sleep(0.1)
            with contextlib.suppress(ConnectionError):
                connection.recv(drip)
        assert not watched.open
    assert 0 < max(watched.waited) < 2**17


def test_who_takes_their_time_gets_all(watched: type[Watched], port: int) -> None:
    size = 2 * 2**20
    url = f"http://127.0.0.1:{port}/{size}"
    with httpx2.stream("GET", url, headers={"Connection": "close"}) as said:
        found = 0
        for piece in said.iter_raw(2**18):
            time.sleep(0.15)  # in all, longer than anything may be stuck
            found += len(piece)
    assert found == size
    assert max(watched.waited) < 2**17


def test_an_address_that_is_taken_is_said_so() -> None:
    with server.listen("127.0.0.1", 0) as listening:
        port = int(listening.getsockname()[1])
        with pytest.raises(OptionError, match="--port"):
            server.listen("127.0.0.1", port)
