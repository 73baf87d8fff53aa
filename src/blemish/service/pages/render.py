"""Templates with their texts, and errors that a person reads as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import cache
from importlib import resources
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from blemish.calibration import Calibration
from blemish.errors import BlemishError
from blemish.service import problems, room
from blemish.service.status import absent


@cache
def texts() -> dict[str, Any]:
    """All texts of the pages, by page and name."""
    text = (resources.files("blemish.service") / "texts.json").read_text("utf-8")
    return dict(json.loads(text))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("blemish.service"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["path"] = segment
    made.filters["share"] = share
    made.filters["alarms"] = lambda saved: Calibration.from_json(saved).alarms
    made.filters["absent"] = absent
    made.globals["t"] = _named(texts())
    made.globals["script"] = texts()["script"]
    return made


def _named(value: Any) -> Any:
    """Texts as attributes: of a dict, Jinja would find methods such as `clear` before its keys."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: _named(one) for name, one in value.items()})
    return value


def share(of: float) -> str:
    """A share in per cent, of which two figures say enough.

    >>> share(0.0334), share(0.202), share(0.0001)
    ('3.3 %', '20 %', '0.01 %')
    """
    return f"{100 * of:.2g} %"


def segment(name: str) -> str:
    """A text as one piece of an address.

    >>> segment("caps & lids/3")
    'caps%20%26%20lids%2F3'
    """
    return quote(name, safe="")


def line_address(name: str) -> str:
    """Of the page of a line."""
    return f"/lines/{segment(name)}"


def page(template: str, place: str | None, code: int = 200, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        template: its file.
        place: the entry of the navigation that it belongs to; "" for none of them, None for a page
            without navigation.
        code: the status of the response.
        **values: what the template shows.
    """
    return HTMLResponse(render(template, place=place, **values), code)


def render(template: str, **values: Any) -> str:
    """A template as text."""
    return _templates().get_template(template).render(**values)


def go(address: str) -> RedirectResponse:
    """To another page, after a form was worked on."""
    return RedirectResponse(address, 303)


def page_router() -> APIRouter:
    """A router whose errors are pages; its routes are no part of the programs' interface."""
    return APIRouter(include_in_schema=False, route_class=_Route)


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            asked = request.query_params.multi_items()
            if request.method == "GET" and not all(value for _, value in asked):
                # Browsers send the fields of a form that were left empty too.
                left = urlencode([one for one in asked if one[1]])
                return go(f"{request.url.path}?{left}")
            try:
                return await handler(request)
            except BlemishError as error:
                return failed(problems.status_of(error), str(error))
            except RequestValidationError as error:
                wrong = sorted({str(one["loc"][-1]) for one in error.errors()})
                said = texts()["error"]["unreadable"].format(names=", ".join(wrong))
                return failed(422, said)
            except HTTPException as error:
                if full := room.lacking(error.__cause__):
                    return failed(problems.status_of(full), str(full))
                # What the guard found while the body was read keeps its status and its headers.
                answer = failed(error.status_code, str(error.detail))
                answer.headers.update(error.headers or {})
                return answer

        return shown


def failed(status: int, message: str) -> HTMLResponse:
    """What went wrong, as a page."""
    return page("error.html", "", status, status=status, message=message)
