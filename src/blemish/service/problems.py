"""Errors as problem documents (RFC 9457), each with the status that tells a program what to do.

The type of every problem is "about:blank", so that its title is the status in words; `error` is the
name of the error in `blemish.errors`, and `detail` is written for a person. Requests of OpenAI
clients get the shape that those read.
"""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import blemish.errors
from blemish.errors import (
    AccessError,
    BlemishError,
    BudgetError,
    ChatError,
    ConflictError,
    InputError,
    MissingExtraError,
    NotFoundError,
    OptionError,
    OutputError,
    SavedError,
    ServiceError,
    StoreBusyError,
    UndefinedMetricError,
    WeightsError,
)
from blemish.service import room
from blemish.service.types import Fault

MEDIA_TYPE = "application/problem+json"
STATUS: Mapping[type[BlemishError], int] = {
    InputError: 422,
    OptionError: 422,
    UndefinedMetricError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    StoreBusyError: 503,
    ServiceError: 503,
    WeightsError: 503,
    BudgetError: 503,
    AccessError: 502,
    ChatError: 502,
    MissingExtraError: 501,
    OutputError: 507,
    SavedError: 500,
    BlemishError: 500,
}
"""The status of each error; one that is not named has that of the class above it."""
_AGAIN = {503: "2", 429: "1"}
"""Seconds after which the same request may be worth sending again, by status."""
_MOST = 20
"""Parts of a request that are named as wrong; who reads them mends those first."""
_OPENAI = ("/v1/chat/", "/v1/models")
_log = logging.getLogger(__name__)


class Wrong(BaseModel):
    """One part of a request that cannot be used."""

    at: str
    """Where: "body.mark.0", "query.limit"."""
    message: str


class Problem(BaseModel):
    """Why a request was not served."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    error: str = ""
    """The name of the error in `blemish.errors`, where it is one."""
    errors: list[Wrong] = []


class _Answer(JSONResponse):
    """JSON in which what UTF-8 has no bytes for, such as half a surrogate pair, is a "?"."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def status_of(error: BlemishError) -> int:
    """The status of an error, by the nearest class that has one."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def response(
    status: int,
    detail: str,
    *,
    error: str = "",
    errors: list[Wrong] | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "",
) -> JSONResponse:
    """A problem as a response; `path` of the request decides who is to read it."""
    sent = {"Retry-After": _AGAIN[status]} if status in _AGAIN else {}
    sent |= dict(headers or {})
    if path.startswith(_OPENAI):
        kind = "invalid_request_error" if status < 500 else "server_error"
        more = "".join(f" {wrong.at}: {wrong.message}." for wrong in errors or ())
        said = {"message": detail + more, "type": kind, "param": None, "code": error or None}
        return _Answer({"error": said}, status, sent)
    problem = Problem(
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        error=error,
        errors=errors or [],
    )
    return _Answer(problem.model_dump(), status, sent, media_type=MEDIA_TYPE)


def of(error: Exception, path: str = "") -> JSONResponse:
    """Any error as a problem. What nobody foresaw says nothing of itself to the outside."""
    match error:
        case BlemishError():
            return response(status_of(error), str(error), error=type(error).__name__, path=path)
        case RequestValidationError():
            # Without the input: it may be a picture or a secret.
            wrong = [
                Wrong(at=".".join(map(str, one["loc"])), message=str(one["msg"]))
                for one in error.errors()[:_MOST]
            ]
            return response(422, "The request cannot be read.", errors=wrong, path=path)
        case HTTPException():
            # The framework says of whatever stops it in a form that the form is wrong.
            if full := room.lacking(error.__cause__):
                return of(full, path)
            detail = str(error.detail)
            return response(error.status_code, detail, headers=error.headers, path=path)
    _log.error("A request failed in a way nobody foresaw.", exc_info=error)
    return response(500, "Sorry, this is a mistake in blemish; its log has the details.", path=path)


def again(fault: Fault) -> BlemishError:
    """The error that a file of a job met, to be raised where somebody waits for it."""
    kind: Any = getattr(blemish.errors, fault.error, BlemishError)
    found = kind(fault.message)
    return found if isinstance(found, BlemishError) else BlemishError(fault.message)


def install(app: FastAPI) -> None:
    """Let an application answer all errors of its routes with problems."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return of(error, request.url.path)

    for kind in (BlemishError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def documented(openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of problems: any route may answer with one.

    Args:
        openai: of the routes for OpenAI's clients.
    """
    detail, name = "There is no line called 'caps'. Known: bottles.", "NotFoundError"
    if openai:
        said = {"message": detail, "type": "invalid_request_error", "param": None, "code": name}
        content: dict[str, Any] = {"application/json": {"example": {"error": said}}}
    else:
        problem = Problem(title="Not Found", status=404, detail=detail, error=name)
        schema = {"$ref": "#/components/schemas/Problem"}
        content = {MEDIA_TYPE: {"schema": schema, "example": problem.model_dump()}}
    return {
        "4XX": {"description": "The request cannot be served as it is.", "content": content},
        "5XX": {"description": "The station cannot serve the request now.", "content": content},
    }
