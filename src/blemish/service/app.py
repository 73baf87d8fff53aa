"""The station as an application: routes, and around them what logs, guards and names problems."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.concurrency import run_in_threadpool

from blemish import __version__
from blemish.service import pages, problems
from blemish.service.api import (
    exports,
    feedback,
    health,
    inspections,
    jobs,
    lines,
    messages,
    openai,
    sign_in,
)
from blemish.service.guard import STATIC, Guard, Rules, SecureHeaders, hosts
from blemish.service.logs import RequestLog
from blemish.service.measures import Measures
from blemish.service.pages.render import render
from blemish.service.station import Station
from blemish.service.streams import Streams

ROUTERS = (lines, inspections, jobs, messages, feedback, exports, openai, health, sign_in)
_ABOUT = (
    "Inspect pictures of parts: make a line of normal parts, send pictures, read what is wrong "
    "with them in words and pixels, and say whether it was right."
)


def create_app(station: Station) -> FastAPI:
    """The station over HTTP. While the application runs, the station works."""

    @asynccontextmanager
    async def working(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(station.start)
        try:
            yield
        finally:
            await run_in_threadpool(station.close)

    settings = station.settings
    app = FastAPI(
        title="blemish",
        version=__version__,
        description=_ABOUT,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=working,
        responses=problems.documented(),
        generate_unique_id_function=_named,
        redirect_slashes=False,
        form_limits={"max_files": settings.max_files, "max_fields": 100},
    )
    app.state.station = station
    app.state.streams = Streams()
    app.state.measures = Measures(station)
    problems.install(app)
    for one in ROUTERS:
        app.include_router(one.router)
    pages.install(app)
    _complete(app, bool(settings.token.get_secret_value()))
    # FastAPI puts routes together when they are asked for, here, and not by the first request: that
    # one would wait for it, and the filters of warnings that it sets belong to all threads, which
    # by then decode pictures under theirs.
    list(iter_route_contexts(app.routes))
    rules = Rules(
        hosts=hosts(settings.host, settings.public.hostname or "", *settings.allowed_hosts),
        token=settings.token.get_secret_value(),
        open=(sign_in.ADDRESS, STATIC),
        max_body=settings.max_body,
        at_once=settings.max_requests,
        slowest=settings.slowest,
        public=settings.public_url,
    )
    # The last one that is added is the outermost.
    app.add_middleware(Guard, rules=rules, shown=_refused)
    app.add_middleware(RequestLog, measure=app.state.measures.note)
    app.add_middleware(SecureHeaders)
    return app


def _named(route: APIRoute) -> str:
    """Operations are called like their functions."""
    return route.name


def _refused(status: int, said: str, path: str) -> str:
    """What a browser shows where the guard lets nothing through."""
    if status == 401:
        return sign_in.page(path)
    return render("error.html", place=None, status=status, message=said)


def _complete(app: FastAPI, wants_token: bool) -> None:
    """Add to the OpenAPI document what problems look like, and how to show the token."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            parts = document.setdefault("components", {})
            schema = problems.Problem.model_json_schema(
                ref_template="#/components/schemas/{model}", mode="serialization"
            )
            parts.setdefault("schemas", {}).update(schema.pop("$defs"), Problem=schema)
            if wants_token:
                parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"token": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
