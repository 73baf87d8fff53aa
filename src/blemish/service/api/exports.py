"""Inspections as files for other programs and for people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from blemish.service.api.shared import Here, Wanted, download
from blemish.service.types import Export

router = APIRouter(prefix="/v1/exports", tags=["exports"])
_SHOWN: dict[str, Any] = {
    # Some are JSON, so that a text is not all that may come.
    "schema": {},
    "example": "inspection,line,version,job,name,...",
}


@router.get(
    "/{kind}",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"*/*": _SHOWN}}},
)
def export(here: Here, kind: Annotated[Export, Path(examples=["csv"])], wanted: Wanted) -> Response:
    """JSON Lines, CSV, COCO, YOLO (a ZIP), Label Studio tasks, or a page that prints well."""
    made = here.export(wanted, kind)
    return Response(
        made.data,
        media_type=made.media_type,
        headers={
            **download(made.name),
            # Were it shown after all, it could run nothing.
            "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
            "img-src data:",
        },
    )
