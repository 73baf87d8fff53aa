"""All inspections, and how the station stands."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from pydantic import Field

from blemish.service.api.shared import Here, Long, Wanted
from blemish.service.pages.render import go, page, page_router
from blemish.service.types import Says

router = page_router()
_PAGE = 36
_EXPORTS = (
    ("csv", "CSV"),
    ("jsonl", "JSON Lines"),
    ("html", "HTML"),
    ("coco", "COCO"),
    ("yolo", "YOLO"),
    ("label-studio", "Label Studio"),
)
"""Exports by their names in addresses, with what people call them."""


@router.get("/history")
def history(
    here: Here,
    request: Request,
    wanted: Wanted,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    noted: Annotated[int, Query(ge=0, le=_PAGE)] = 0,
    left: Annotated[int, Query(ge=0, le=_PAGE)] = 0,
) -> Response:
    """Inspections, the newest first."""
    asked = request.query_params.multi_items()
    asked = [one for one in asked if one[0] not in ("after", "noted", "left")]
    return page(
        "history.html",
        "history",
        lines=here.lines(),
        wanted=wanted,
        page=here.find(wanted, after, _PAGE),
        after=after,
        noted=noted,
        left=left,
        query=urlencode(asked),
        exports=_EXPORTS,
    )


@router.post("/history/feedback")
def say(
    here: Here,
    says: Annotated[Says, Form()],
    ids: Annotated[list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]], Form(max_length=_PAGE)],
    back: Annotated[Long, Form()] = "",
) -> Response:
    """The same word on several inspections; that an unsure verdict is right would say nothing."""
    told = [one for one in ids if says != "right" or here.inspection(one).verdict != "unsure"]
    for one in told:
        here.say(one, says)
    left = f"&left={len(ids) - len(told)}" if len(told) < len(ids) else ""
    return go(f"/history?{back}{'&' * bool(back)}noted={len(told)}{left}")


@router.get("/settings")
def settings(here: Here, request: Request) -> Response:
    """What is here, and where."""
    base = str(request.base_url)
    return page(
        "settings.html",
        "settings",
        status=here.status(),
        base=base,
        guarded=bool(here.settings.token.get_secret_value()),
    )
