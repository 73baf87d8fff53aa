"""The web page: rendered here, in one style sheet and a few small scripts, from no other address.

Each page does its work through forms; scripts add what forms cannot do, such as pasting a picture,
zooming, and words that appear as they are said. All texts are in `texts.json`.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from blemish.service.pages import history, lines, part, scale, sending

_STATIC = Path(__file__).parents[1] / "static"
ROUTERS = (sending, part, lines, history, scale)


def install(app: FastAPI) -> None:
    """Add the pages to an application that has the station as `app.state.station`."""
    for one in ROUTERS:
        app.include_router(one.router)
    app.mount("/static", StaticFiles(directory=_STATIC))
