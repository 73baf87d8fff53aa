"""The guard in front of an application of ten lines."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from blemish.service import guard, passes
from blemish.service.guard import Guard, Rules, SecureHeaders, hosts

TOKEN = "correct-horse-battery-staple"
OPEN = Rules(hosts("station.example"))
CLOSED = Rules(hosts(), token=TOKEN, open=("/sign-in", "/static/"))
Client = httpx2.AsyncClient


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def shown(status: int, said: str, path: str) -> str:
    return f"<h1>{status} {path}</h1>{said}"


def guarded(rules: Rules, answer: Callable[[Request], Awaitable[Response]] = echo) -> ASGIApp:
    routes = [Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])]
    return SecureHeaders(Guard(Starlette(routes=routes), rules, shown))


def ask(rules: Rules, method: str = "GET", path: str = "/v1/lines", **how: Any) -> httpx2.Response:
    said = talk(guarded(rules), lambda client: client.request(method, path, **how))
    assert isinstance(said, httpx2.Response)
    return said


def talk(app: ASGIApp, what: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        transport = httpx2.ASGITransport(app)
        async with Client(transport=transport, base_url="http://localhost:8000") as client:
            return await what(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "STATION.example", "station.example."]
)
def test_its_own_names_are_served(host: str) -> None:
    assert ask(OPEN, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io"])
def test_another_name_is_refused(host: str) -> None:
    said = ask(OPEN, headers={"Host": host})
    assert said.status_code == 421
    assert said.headers["content-type"] == "application/problem+json"


def test_a_wildcard_address_is_no_name() -> None:
    assert "0.0.0.0" not in hosts("0.0.0.0", "")
    assert "[fe80::1]" in hosts("fe80::1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:9000"}, 403),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:port"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://station.example", "Host": "station.example"}, 200),
    ],
)
def test_only_its_own_pages_may_change_things(headers: dict[str, str], status: int) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert ask(OPEN, method, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "cors", "empty", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "no-cors", "image", 403),
        ("cross-site", "navigate", "document", 200),
        ("same-site", "navigate", "document", 200),
        ("same-origin", "no-cors", "image", 200),
        ("none", "navigate", "document", 200),
    ],
)
def test_pages_of_other_sites_get_nothing_but_what_a_person_opens(
    site: str, mode: str, dest: str, status: int
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    for path in ("/lines/caps/preview", "/v1/exports/html", "/sign-in"):
        for method in ("GET", "HEAD"):
            assert ask(OPEN, method, path, headers=headers).status_code == status
    for path in ("/static/style.css", "/healthz"):
        assert ask(OPEN, path=path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://station.example:8443", 200),
        ("https://station.example", 200),  # the name without a port, as the Host says it
        ("http://station.example:8443", 403),
        ("https://station.example:9000", 403),
        ("https://evil.example:8443", 403),
    ],
)
def test_a_proxy_may_leave_out_the_port_of_the_address_that_people_type(
    origin: str, status: int
) -> None:
    rules = Rules(hosts("station.example"), public="https://Station.example:8443")
    headers = {"Host": "station.example", "Origin": origin}
    assert ask(rules, "POST", headers=headers).status_code == status


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"other=1; {passes.COOKIE}={value}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff".encode("latin-1")},
        cookie(""),
        cookie("99999999999"),
        cookie(TOKEN),
        cookie(passes.issue("another token")),
        cookie(passes.issue(TOKEN, -1)),
        cookie("9" + passes.issue(TOKEN)),
        {"Authorization": "Bearer wrong"} | cookie(passes.issue(TOKEN)),
    ],
)
def test_without_a_good_token_nothing_is_served(headers: Any) -> None:
    for method, path in (("GET", "/"), ("POST", "/v1/inspections"), ("GET", "/metrics")):
        said = ask(CLOSED, method, path, headers=headers)
        assert said.status_code == 401
        assert said.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in said.text


def test_the_token_or_a_pass_lets_in() -> None:
    assert ask(CLOSED, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    assert ask(CLOSED, headers=cookie(passes.issue(TOKEN))).status_code == 200


def test_health_and_the_way_in_need_no_token() -> None:
    for path in ("/healthz", "/readyz", "/sign-in", "/static/style.css"):
        assert ask(CLOSED, path=path).status_code == 200
    for path in ("/healthz/", "/sign-in/x", "/static", "//healthz"):
        assert ask(CLOSED, path=path).status_code == 401


def test_a_browser_without_a_pass_gets_the_page_to_sign_in() -> None:
    said = ask(CLOSED, path="/lines", headers={"Accept": "text/html,*/*"})
    assert said.status_code == 401
    assert said.text.startswith("<h1>401 /lines</h1>")


def test_a_body_over_the_limit_is_refused_announced_or_not() -> None:
    rules = Rules(hosts(), max_body=1000)
    assert ask(rules, "POST", content=b"x" * 1000).text == "1000"
    assert ask(rules, "POST", content=b"x" * 1001).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2000):
            yield b"x" * 100

    said = ask(rules, "POST", content=chunks())
    assert said.status_code == 413


def dripping(pause: float, count: int) -> Callable[[], AsyncIterator[bytes]]:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(count):
            await asyncio.sleep(pause)
            yield b"x"

    return chunks


def test_a_slow_sender_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules(hosts(), slowest=0.3)
    began = time.monotonic()
    assert ask(rules, "POST", content=dripping(0.05, 100)()).status_code == 408
    assert time.monotonic() - began < 2.5
    assert ask(rules, "POST", content=dripping(0.02, 5)()).text == "5"
    monkeypatch.setattr(guard, "_SILENCE", 0.1)
    assert ask(OPEN, "POST", content=dripping(0.5, 2)()).status_code == 408


def test_a_sender_of_much_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_RATE", 10)
    rules = Rules(hosts(), slowest=0.3)
    assert ask(rules, "POST", content=dripping(0.05, 12)()).text == "12"


def test_too_many_at_once_are_told_to_come_back_and_health_is_served() -> None:
    gate = asyncio.Event()

    async def wait(request: Request) -> Response:
        if request.url.path != "/healthz":
            await gate.wait()
        return PlainTextResponse("")

    async def many(client: Client) -> list[int]:
        held = [asyncio.create_task(client.get("/")) for _ in range(3)]
        await asyncio.sleep(0.05)
        extra, health = await client.get("/"), await client.get("/healthz")
        assert extra.headers["retry-after"] == "1"
        gate.set()
        done = [(await task).status_code for task in held]
        return [*done, extra.status_code, health.status_code, (await client.get("/")).status_code]

    assert talk(guarded(Rules(hosts(), at_once=3), wait), many) == [200, 200, 200, 429, 200, 200]


def test_large_bodies_at_once_are_bounded() -> None:
    gate = asyncio.Event()

    async def hold(request: Request) -> Response:
        size = len(await request.body())
        await gate.wait()
        return PlainTextResponse(str(size))

    async def many(client: Client) -> list[int]:
        body = bytes(1000)
        held = [asyncio.create_task(client.post("/", content=body)) for _ in range(4)]
        await asyncio.sleep(0.05)
        extra = await client.post("/", content=body)
        gate.set()
        done = [(await task).status_code for task in held]
        again = await client.post("/", content=body)
        return [*done, extra.status_code, again.status_code]

    rules = Rules(hosts(), max_body=1000)
    assert talk(guarded(rules, hold), many) == [200, 200, 200, 200, 429, 200]


def test_every_answer_tells_browsers_what_not_to_do() -> None:
    for said in (ask(OPEN), ask(OPEN, headers={"Host": "evil.example"}), ask(CLOSED)):
        policy = said.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'none'" in policy
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["referrer-policy"] == "same-origin"


def test_what_has_no_secrets_may_be_kept_by_browsers() -> None:
    assert ask(CLOSED, path="/static/style.css").headers["cache-control"] == "no-cache"
    for path in ("/", "/v1/static/x", "/static", "/sign-in"):
        assert ask(CLOSED, path=path).headers["cache-control"] == "no-store"


def test_a_body_that_is_no_form_fits_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_WHOLE", 100)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    json_ = {"Content-Type": "application/json"}
    for headers, status in ((form, 200), (json_, 413), ({}, 413)):
        assert ask(OPEN, "POST", content=b"x" * 101, headers=headers).status_code == status
    assert ask(OPEN, "POST", content=b"x" * 100, headers=json_).status_code == 200


def test_who_shows_no_token_sends_little() -> None:
    for content_type in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        form = {"Content-Type": content_type}
        token = {"Authorization": f"Bearer {TOKEN}"}
        for headers, status in ((form, 413), (form | token, 200), (form | cookie("1.x"), 413)):
            for path in ("/sign-in", "/static/x", "/healthz"):
                said = ask(CLOSED, "POST", path, content=bytes(2**16 + 1), headers=headers)
                assert said.status_code == status
        assert ask(CLOSED, "POST", "/sign-in", content=bytes(2**16), headers=form).text == "65536"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(2**15)

    assert ask(CLOSED, "POST", "/sign-in", content=chunks()).status_code == 413


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
def test_a_large_answer_goes_out_in_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_PIECE", 10)
    sent: list[Any] = []
    body = bytes(range(size))

    async def large(_: Request) -> Response:
        return Response(body)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "method": "GET", "http_version": "1.1"},
        **{"path": "/", "raw_path": b"/", "query_string": b"", "scheme": "http", "root_path": ""},
        "headers": [(b"host", b"localhost")],
    }

    async def run() -> None:
        await guarded(OPEN, large)(scope, receive, send)

    asyncio.run(run())
    pieces = sent[1:]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert max(len(piece["body"]) for piece in pieces) <= 10
    more = [piece.get("more_body", False) for piece in pieces]
    assert more == [True] * (len(pieces) - 1) + [False]


def test_what_takes_long_to_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_COMMAS", 100)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for commas, headers, status in ((100, {}, 200), (101, {}, 413), (101, form, 200)):
        said = ask(OPEN, "POST", content=b"[]," * commas, headers=headers)
        assert said.status_code == status

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(51):
            yield b",,"

    assert ask(OPEN, "POST", content=chunks()).status_code == 413


def test_web_sockets_are_closed() -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError

        await guarded(OPEN)({"type": "websocket", "path": "/"}, receive, send)

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_problems_are_whole_documents() -> None:
    problem = json.loads(ask(CLOSED).text)
    assert problem["status"] == 401
    assert problem["title"] == "Unauthorized"
    assert problem["type"] == "about:blank"
