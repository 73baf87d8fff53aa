"""For what watches over the station: is it alive, can it work, and its figures."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from blemish.service.api import examples
from blemish.service.api.shared import Here

router = APIRouter(tags=["health"])


class Works(BaseModel):
    """That it does."""

    status: Literal["ok"] = "ok"


_OK = examples.response(200, Works())


@router.get("/healthz", responses=_OK)
async def healthz() -> Works:
    """The process answers."""
    return Works()


@router.get("/readyz", responses=_OK)
def readyz(here: Here) -> Works:
    """The database answers and the folder can be written; else a problem with status 503 or 507."""
    here.ready()
    return Works()


@router.get(
    "/metrics",
    response_class=Response,
    responses=examples.file("text/plain", "blemish_lines 1.0\n", "Figures."),
)
def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text: bytes = request.app.state.measures.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
