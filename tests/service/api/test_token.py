"""A station that wants a token: every route does, and a person can sign in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from blemish.service import passes

TOKEN = "canary-token-1234567890"


@pytest.fixture(scope="module")
def closed(opened: Callable[..., TestClient]) -> TestClient:
    """A client of a station with a token, which it does not send."""
    return opened(token=TOKEN)


def operations(client: TestClient) -> list[tuple[str, str]]:
    document = client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert document["security"] == [{"token": []}]
    paths = ((path, methods) for path, methods in document["paths"].items())
    found = [(re.sub(r"\{\w+\}", "x", path), m.upper()) for path, ms in paths for m in ms]
    assert len(found) > 25
    return found


def test_every_route_wants_it(closed: TestClient) -> None:
    expired = f"{passes.COOKIE}={passes.issue(TOKEN, -1)}"
    shown: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Cookie": expired},
        {"Cookie": f"{passes.COOKIE}={TOKEN}"},
    ]
    for path, method in operations(closed):
        for headers in shown:
            said = closed.request(method, path, headers=headers)
            assert said.status_code == (200 if path in ("/healthz", "/readyz") else 401), path
            assert TOKEN not in said.text
    assert closed.get("/openapi.json").status_code == 401


def test_a_person_signs_in_and_out(closed: TestClient) -> None:
    form = closed.get("/sign-in")
    assert form.status_code == 200
    assert closed.get("/v1/lines", headers={"Accept": "text/html"}).status_code == 401
    wrong = closed.post("/sign-in", data={"token": "wrong", "then": "/lines"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    sent: dict[str, Any] = {"token": TOKEN, "then": "/lines"}
    right = closed.post("/sign-in", data=sent, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/lines")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert closed.get("/v1/lines").status_code == 200
    closed.post("/sign-out", follow_redirects=False)
    assert closed.get("/v1/lines").status_code == 401


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_leads_nowhere_else(closed: TestClient, then: str) -> None:
    said = closed.post("/sign-in", data={"token": TOKEN, "then": then}, follow_redirects=False)
    assert said.headers["location"] == "/"
    closed.cookies.clear()


def test_the_page_to_sign_in_shows_addresses_as_text(closed: TestClient) -> None:
    said = closed.get('/"><script>alert(1)</script>', headers={"Accept": "text/html"})
    assert said.status_code == 401
    assert "<script>" not in said.text


def test_pages_and_their_forms_want_it_too(closed: TestClient) -> None:
    for path in ("/", "/lines", "/history", "/batch", "/settings", "/nothing", "/static"):
        for method in ("GET", "POST"):
            assert closed.request(method, path).status_code == 401, path
