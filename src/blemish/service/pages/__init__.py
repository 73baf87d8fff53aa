"""The web page: rendered here, in one style sheet and a few small scripts, from no other address.

Each page does its work through forms; scripts add what forms cannot do, such as pasting a picture,
zooming, and words that appear as they are said. All texts are in `texts.json`.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from blemish.service import problems
from blemish.service.pages import comparing, history, lines, part, scale, sending
from blemish.service.pages.render import failed
from blemish.service.pages.slow import Slow

_STATIC = Path(__file__).parents[1] / "static"
ROUTERS = (sending, part, lines, comparing, history, scale)


def install(app: FastAPI) -> None:
    """Add the pages to an application that has the station as `app.state.station`."""
    for one in ROUTERS:
        app.include_router(one.router)
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.state.slow = Slow()

    async def answer(request: Request, error: HTTPException) -> Response:
        """An address that does not exist, as a page for a person and a problem for a program."""
        reads = "text/html" in request.headers.get("accept", "")
        if reads and not request.url.path.startswith("/v1/"):
            return failed(error.status_code, str(error.detail))
        return problems.of(error, request.url.path)

    app.add_exception_handler(HTTPException, answer)  # type: ignore[arg-type]
