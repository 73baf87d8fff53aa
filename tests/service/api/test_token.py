"""A station that wants a token: every route does, and a person can sign in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from blemish.service import passes

TOKEN = "canary-token-1234567890"


@pytest.fixture(scope="module")
def closed(opened: Callable[..., TestClient]) -> TestClient:
    """A client of a station with a token, which it does not send."""
    return opened(token=TOKEN)


def walked(routes: Sequence[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every route that there is, in the document or not, with something in its places."""
    for route in routes:
        path = re.sub(r"\{[^}]*\}", "0" * 32, before + (getattr(route, "path", None) or ""))
        # FastAPI keeps an included router as one route of its own kind.
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        if inner is not None:
            yield from walked(inner, path)
        else:
            for method in sorted(getattr(route, "methods", None) or ("GET",)):
                yield method, path


def test_every_route_wants_it(closed: TestClient) -> None:
    app: Any = closed.app
    found = set(walked(app.routes))
    assert {path.split("/")[1] for _, path in found} >= {"v1", "lines", "history", "sign-out"}
    assert len(found) > 60
    open_to_all = {"/sign-in", "/static", "/healthz", "/readyz"}
    shown: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Cookie": f"{passes.COOKIE}={passes.issue(TOKEN, -1)}"},
        {"Cookie": f"{passes.COOKIE}={TOKEN}"},
    ]
    for method, path in sorted(found):
        for headers in shown[: 1 if path in open_to_all else None]:
            said = closed.request(method, path, headers=headers)
            wanted = path not in open_to_all or path == "/static"
            assert (said.status_code in (401, 403)) == wanted, (method, path, said.status_code)
            assert TOKEN not in said.text
    document = closed.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert document["security"] == [{"token": []}]


@pytest.mark.parametrize(
    ("host", "secure"),
    [("station.example", True), ("localhost:8000", False), ("127.0.0.1", False)],
)
def test_behind_a_proxy_the_pass_is_for_encrypted_connections(
    opened: Callable[..., TestClient], host: str, secure: bool
) -> None:
    proxied = opened(token=TOKEN, public_url="https://station.example")
    sent = {"token": TOKEN, "then": "/lines"}
    origin = f"{'https' if secure else 'http'}://{host}"
    headers = {"Host": host, "Origin": origin}
    said = proxied.post("/sign-in", data=sent, headers=headers, follow_redirects=False)
    assert said.status_code == 303
    assert ("Secure" in said.headers["set-cookie"]) == secure


def test_forms_of_the_public_address_are_served_though_the_proxy_drops_its_port(
    opened: Callable[..., TestClient],
) -> None:
    proxied = opened(token=TOKEN, public_url="https://station.example:8443")
    headers = {"Host": "station.example", "Origin": "https://station.example:8443"}
    said = proxied.post("/sign-in", data={"token": TOKEN}, headers=headers, follow_redirects=False)
    assert said.status_code == 303


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
