"""For what watches over the station: is it alive, can it work, and its figures."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from blemish.service.api.shared import Here

router = APIRouter(tags=["health"])


class Works(BaseModel):
    """That it does."""

    status: Literal["ok"] = "ok"


@router.get("/healthz")
async def healthz() -> Works:
    """The process answers."""
    return Works()


@router.get("/readyz")
def readyz(here: Here) -> Works:
    """The database answers and the folder can be written; else a problem with status 503 or 507."""
    here.ready()
    return Works()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text: bytes = request.app.state.measures.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
