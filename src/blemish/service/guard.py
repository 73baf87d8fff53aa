"""What stands between the network and the station: pure ASGI, so that nothing is read before it.

In this order: a name under which the station is reached (another site's page that resolves to this
computer has another), not too many requests at once, no request of another site's page but where a
person followed a link, a token or a pass, and a body that is neither too large nor too slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.service import passes, problems

HEALTH = ("/healthz", "/readyz")
"""Answered to anybody and however busy the station is: they say nothing but whether it works."""
STATIC = "/static/"
"""Below it lies what has no secrets: a browser may keep it, and asks whether it is still so."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_CLOSE = {"Connection": "close"}
_SILENCE = 10.0
"""Seconds within which the next piece of a body must come, and of a response be taken."""
_PIECE = 64 * 1024
"""Bytes of a response that the server is given at a time: it takes any number at once, and keeps a
copy of what the client does not take."""
_RATE = 256 * 1024
"""Bytes that buy a sender another second, so that a large body may take its time."""
_BODIES = 4
"""Largest bodies that fit onto the disk of temporary files together."""
_WHOLE = 64 * 2**20
"""Bytes of a body that is no form, and so is read into the memory as a whole."""
_COMMAS = 100_000
"""Of such a body. JSON is read at once while all others wait, and has a comma before nearly every
value: 16 MiB of empty lists take over two seconds, and the pictures of a chat no time."""
_STRANGE = 64 * 1024
"""Bytes of a body of somebody who has shown no token: a token and an address to sign in."""
_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # "no-referrer" would make browsers send "Origin: null" with the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Rules:
    """What is let through.

    Attributes:
        hosts: names in the Host header, without ports.
        token: what a program must send; "" lets everybody in.
        open: addresses that need no token, such as "/sign-in"; with a "/" at the end, all below.
        max_body: bytes of a request.
        at_once: requests that are served at the same time.
        slowest: seconds that a sender may keep the station waiting for a small request.
        public: the address that people type, such as "https://station.example:8443"; a proxy in
            front of the station may not pass its port on in the Host header. "" for none.
    """

    hosts: frozenset[str]
    token: str = ""
    open: tuple[str, ...] = ()
    max_body: int = 512 * 2**20
    at_once: int = 64
    slowest: float = 60.0
    public: str = ""


def hosts(*names: str) -> frozenset[str]:
    """Names for `Rules.hosts`: those given, and this computer's."""
    own = ("localhost", "127.0.0.1", "[::1]")
    given = (f"[{name}]" if ":" in name and "[" not in name else name for name in names)
    # 0.0.0.0 and :: stand for all addresses and are no name that anybody reaches.
    return frozenset(name.lower() for name in (*own, *given)) - {"", "0.0.0.0", "[::]"}


class SecureHeaders:
    """Tells browsers, with every response, to run, embed and keep nothing that is not ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to the response what it does not say itself."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith(STATIC):
                    headers.setdefault("Cache-Control", "no-cache")
                for name, value in _POLICY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, secured)


class Guard:
    """Lets through what its rules allow; see the module.

    Args:
        app: what is guarded.
        rules: what is let through.
        shown: a page that says to a person what was refused, by status, words and path.
    """

    def __init__(
        self, app: ASGIApp, rules: Rules, shown: Callable[[int, str, str], str] | None = None
    ) -> None:
        self.app, self._rules, self._shown = app, rules, shown
        self._active = 0
        self._bodies = _Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer with a problem."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        connection = HTTPConnection(scope)
        headers, path = connection.headers, scope["path"]
        body = _Body(receive, self._rules, self._bodies)
        self._active += 1
        try:
            known = not self._rules.token or self._known(connection)
            self._admit(connection, scope["method"], path, known)
            body.declared(headers, known)
            await self.app(scope, body, _patient(send))
        except HTTPException as refused:
            if body.begun or "expect" not in headers:
                await body.drain()
            await self._refusal(refused, headers, path)(scope, receive, send)
        finally:
            self._active -= 1
            body.forget()

    def _admit(self, connection: HTTPConnection, method: str, path: str, known: bool) -> None:
        """Raise HTTPException where a request must not be served."""
        headers = connection.headers
        named = headers.getlist("host")
        if len(named) != 1 or _split(named[0])[0] not in self._rules.hosts:
            raise HTTPException(
                421,
                f"This station is not called {', '.join(named)[:200]!r}. Add the name to "
                "BLEMISH_SERVE_ALLOWED_HOSTS if it is to be.",
                _CLOSE,
            )
        if path in HEALTH:
            return
        if self._active > self._rules.at_once:
            raise HTTPException(429, "Too many requests at once. Send it again soon.", _CLOSE)
        if method in _SAFE:
            # Even a page that is only read may begin work, as a preview does.
            foreign = _embedded(headers) and not path.startswith(STATIC)
        else:
            foreign = _foreign(headers, named[0], self._rules.public)
        if foreign:
            raise HTTPException(403, "A page of another site sent this request.", _CLOSE)
        if not known and not self._open(path):
            raise HTTPException(
                401,
                "This station wants its token: 'Authorization: Bearer TOKEN'.",
                {"WWW-Authenticate": 'Bearer realm="blemish"', **_CLOSE},
            )

    def _open(self, path: str) -> bool:
        return any(
            path.startswith(one) if one.endswith("/") else path == one for one in self._rules.open
        )

    def _known(self, connection: HTTPConnection) -> bool:
        """Whether the token or a pass came."""
        if "authorization" in connection.headers:
            scheme, _, given = connection.headers["authorization"].partition(" ")
            return scheme.lower() == "bearer" and passes.same(given.strip(), self._rules.token)
        return passes.valid(self._rules.token, connection.cookies.get(passes.COOKIE, ""))

    def _refusal(self, refused: HTTPException, headers: Headers, path: str) -> ASGIApp:
        if self._shown and "text/html" in headers.get("accept", ""):
            status = refused.status_code
            said = self._shown(status, str(refused.detail), path)
            return HTMLResponse(said, status, refused.headers)
        return problems.of(refused, path)


@dataclass
class _Bodies:
    """How many bytes of all requests that are served now have come."""

    held: int = 0


class _Body:
    """Counts and times a request's body while it is read; waiting counts, working does not."""

    def __init__(self, receive: Receive, rules: Rules, all_of_them: _Bodies) -> None:
        self._receive, self._rules, self._all = receive, rules, all_of_them
        self._bytes, self._waited, self._whole = 0, 0.0, False
        self._most, self._commas, self._form = rules.max_body, 0, False
        self.begun = False

    def declared(self, headers: Headers, known: bool) -> None:
        """Raise HTTPException where more is announced than may come."""
        content_type = headers.get("content-type", "").lower()
        self._form = content_type.startswith("multipart/form-data")
        if not self._form:
            self._most = min(self._most, _WHOLE)
        if not known:
            self._most = min(self._most, _STRANGE)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most:
            raise self._too_large()

    async def __call__(self) -> Message:
        """The next piece."""
        if self._whole:
            return await self._receive()
        self.begun = True
        left = self._rules.slowest + self._bytes / _RATE - self._waited
        asked = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(_SILENCE, left))):
                message = await self._receive()
        except TimeoutError:
            self._whole = True  # nothing more is waited for
            raise HTTPException(408, "The request came too slowly.", _CLOSE) from None
        self._waited += time.monotonic() - asked
        body = message.get("body", b"")
        size = len(body)
        self._bytes += size
        self._all.held += size
        self._whole = not message.get("more_body", False)
        if self._bytes > self._most:
            await self.drain()
            raise self._too_large()
        if not self._form:
            self._commas += body.count(b",")
        if self._commas > _COMMAS:
            await self.drain()
            raise HTTPException(
                413, f"The request has more than {_COMMAS} commas. Send less at a time.", _CLOSE
            )
        if self._all.held > _BODIES * self._rules.max_body:
            await self.drain()
            raise HTTPException(429, "Too much is being sent at once. Send it again soon.", _CLOSE)
        return message

    def forget(self) -> None:
        """Count it no more among those that are served."""
        self._all.held -= self._bytes

    async def drain(self) -> None:
        """Take what is under way for a moment: who sends does not listen, and would see no more
        than a lost connection.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while not self._whole:
                    self._whole = not (await self._receive()).get("more_body", False)

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"The request is larger than {self._most} bytes. Send fewer files at a time, in a "
            "form, or raise BLEMISH_SERVE_MAX_BODY.",
            _CLOSE,
        )


def _patient(send: Send) -> Send:
    """As `send`, but a large body goes out in pieces, each when the client has taken those before;
    whoever takes nothing for a while loses the connection.
    """

    async def bounded(message: Message) -> None:
        body = message.get("body", b"")
        last = max(0, (len(body) - 1) // _PIECE * _PIECE)
        for start in range(0, last, _PIECE):
            piece = body[start : start + _PIECE]
            await one({**message, "body": piece, "more_body": True})
        await one({**message, "body": body[last:]} if last else message)

    async def one(message: Message) -> None:
        async with asyncio.timeout(3 * _SILENCE):
            await send(message)

    return bounded


def _split(host: str) -> tuple[str, str]:
    """A Host header's name in lower case, and its port or "".

    >>> _split("LOCALHOST:8000"), _split("[::1]:80"), _split("[::1]")
    (('localhost', '8000'), ('[::1]', '80'), ('[::1]', ''))
    """
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, ""
    return name.lower().rstrip("."), port


def _embedded(headers: Headers) -> bool:
    """Whether a browser says that a page of another site wants something for itself: as a picture,
    in a frame, by a script. A link that a person follows opens a page of its own.
    """
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    opens = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return opens != ("navigate", "document")


def _origin(address: str) -> tuple[str, str, int]:
    """Scheme, name and port. Raises ValueError or KeyError where it is no address of the web.

    >>> _origin("https://Station.example") == _origin("https://station.example:443")
    True
    """
    parts = urlsplit(address)
    default = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.hostname or "", parts.port or default


def _foreign(headers: Headers, host: str, public: str) -> bool:
    """Whether a browser says that a page of another site sent a request.

    A program that is no browser sends neither header.
    """
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    try:
        there = _origin(origin)
        if public and there == _origin(public):
            return False
        # Not the scheme: a proxy may have taken the encryption off.
        name, port = _split(host)
        here = _origin(f"{there[0]}://{name}{':' * bool(port)}{port}")
        return there != here
    except (KeyError, ValueError):
        return True
