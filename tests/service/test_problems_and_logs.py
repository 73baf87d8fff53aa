"""Errors as problem documents, and what the log says and does not say."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from blemish import errors
from blemish.service import logs, problems

SECRET = "canary-token-1234567890"
PICTURE = "data:image/png;base64,Q0FOQVJZLVBJQ1RVUkU="


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ImageError, 422),
        (errors.OptionError, 422),
        (errors.NotFoundError, 404),
        (errors.ConflictError, 409),
        (errors.StoreBusyError, 503),
        (errors.ServiceError, 503),
        (errors.OutputError, 507),
        (errors.AccessError, 502),
        (errors.BudgetError, 503),
        (errors.MissingExtraError, 501),
        (errors.WeightsError, 503),
        (errors.BlemishError, 500),
    ],
)
def test_each_error_has_its_status(error: type[errors.BlemishError], status: int) -> None:
    said = problems.of(error("Why."))
    problem = json.loads(bytes(said.body))
    assert said.status_code == problem["status"] == status
    assert (problem["detail"], problem["error"]) == ("Why.", error.__name__)
    assert said.media_type == "application/problem+json"
    assert ("retry-after" in said.headers) == (status == 503)


def test_every_error_of_the_tree_has_a_status() -> None:
    def below(kind: type[errors.BlemishError]) -> Iterator[type[errors.BlemishError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from below(one)

    for kind in below(errors.BlemishError):
        assert 400 <= problems.status_of(kind("")) < 600


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(logs.RequestLog)

    @app.get("/wrong")
    def wrong(limit: int = 1) -> None:
        raise errors.NotFoundError("There is no such line.")

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError(f"inside {SECRET} {PICTURE} Bearer abcdefgh sk-abcdefghijkl")

    @app.get("/v1/models/x")
    def model() -> None:
        raise errors.NotFoundError("There is no such line.")

    return app


def get(*paths: str) -> list[httpx2.Response]:
    async def run() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(application())
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(run())


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_nobody_foresaw_says_nothing_outside_and_all_inside(log: io.StringIO) -> None:
    [said] = get("/broken")
    assert said.status_code == 500
    assert "ZeroDivisionError" not in said.text
    assert SECRET not in said.text
    failure, request = lines(log)
    assert "ZeroDivisionError" in failure["error"]
    assert (request["path"], request["status"]) == ("/broken", 500)
    assert request["request"] == said.headers["x-request-id"]


def test_no_line_holds_a_secret_a_picture_or_a_query(log: io.StringIO) -> None:
    get("/broken", f"/wrong?limit={SECRET}", "/wrong?limit=2&prompt=CANARY-PROMPT")
    text = log.getvalue()
    for canary in (SECRET, "Q0FOQVJZ", "CANARY-PROMPT", "abcdefgh"):
        assert canary not in text
    assert [line["status"] for line in lines(log) if line["message"] == "request"] == [
        500,
        422,
        404,
    ]


def test_a_request_that_cannot_be_read_says_where_and_not_what() -> None:
    [said] = get(f"/wrong?limit={SECRET}")
    assert said.status_code == 422
    assert [wrong["at"] for wrong in said.json()["errors"]] == ["query.limit"]
    assert SECRET not in said.text


def test_addresses_that_do_not_exist_are_problems_too() -> None:
    [said] = get("/nothing")
    assert (said.status_code, said.json()["title"]) == (404, "Not Found")


def test_openai_clients_get_errors_that_they_read() -> None:
    [said] = get("/v1/models/x")
    assert said.json()["error"]["message"] == "There is no such line."
    assert said.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/lines", "/v1/chat/completions"])
def test_an_error_may_name_what_is_no_letter(path: str) -> None:
    said = problems.of(errors.OptionError("The part '\ud800' does not exist: \u00fc."), path)
    found = json.loads(bytes(said.body).decode())
    words = found["error"]["message"] if "chat" in path else found["detail"]
    assert words == "The part '?' does not exist: \u00fc."


def test_of_many_mistakes_the_first_are_named() -> None:
    wrong = [{"loc": ("body", n), "msg": "Field required", "type": "missing"} for n in range(1000)]
    found = json.loads(bytes(problems.of(RequestValidationError(wrong)).body))
    assert [one["at"] for one in found["errors"]] == [f"body.{n}" for n in range(20)]
