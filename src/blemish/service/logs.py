"""What the station says of itself: one JSON object a line, without pictures, tokens or prompts.

A request is logged by its route, status and time; its query, headers and body are not. The texts of
other libraries' records may quote what they were given, so secrets and data addresses are taken out
of every line at the end, wherever it came from.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TextIO

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.service import problems

FIELDS = ("request", "method", "path", "status", "seconds", "client")
"""What a record of a request has beside its text."""
_DATA = re.compile(r"data:[\w.+-]*/[\w.+-]*(?:;[\w=.+-]+)*;base64,[A-Za-z0-9+/=_%-]*")
_BEARER = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+")
_KEY = re.compile(r"\bsk-[\w-]{8,}")
_log = logging.getLogger("blemish.requests")
Measure = Callable[[str, str, int, float], None]


class JsonLines(logging.Formatter):
    """Writes records as JSON, one a line.

    Args:
        secrets: texts that no line may hold.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = sorted((one for one in secrets if one), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        said |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps({k: self._clean(v) if isinstance(v, str) else v for k, v in said.items()})

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _DATA.sub("data:***", text)
        return _KEY.sub("sk-***", _BEARER.sub("Bearer ***", text))


def configure(secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Let blemish and uvicorn write JSON lines to a stream, stderr where None."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(secrets))
    for name in ("blemish", "uvicorn", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    logging.getLogger("blemish").setLevel(logging.INFO)
    # uvicorn's own lines of requests quote the query; ours do not.
    logging.getLogger("uvicorn.access").disabled = True


class RequestLog:
    """Around the station and its guard: a line for each request, and no error goes unanswered.

    Args:
        app: what is logged.
        measure: told of each request: method, the route's pattern, status and seconds.
    """

    def __init__(self, app: ASGIApp, measure: Measure | None = None) -> None:
        self.app, self._measure = app, measure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve and log a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        request = uuid.uuid4().hex[:16]

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:
            if status:
                raise  # part of an answer is on its way; the server cuts the connection
            await problems.of(error, scope["path"])(scope, receive, noted)
        finally:
            self._note(scope, request, status, time.monotonic() - began)

    def _note(self, scope: Scope, request: str, status: int, seconds: float) -> None:
        if self._measure:
            pattern = getattr(scope.get("route"), "path", "")
            self._measure(scope["method"], pattern, status, seconds)
        client = scope.get("client")
        _log.info(
            "request",
            extra={
                "request": request,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "seconds": round(seconds, 4),
                "client": client[0] if client else "",
            },
        )
