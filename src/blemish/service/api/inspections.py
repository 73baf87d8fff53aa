"""Inspections: send pictures, find what was found, look at it."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Header, Query, Response, UploadFile

from blemish.errors import NotFoundError
from blemish.images import suffix_of
from blemish.service import problems
from blemish.service.api import examples
from blemish.service.api.shared import (
    Here,
    Id,
    Short,
    Side,
    View,
    Waiting,
    Wanted,
    download,
    uploads,
)
from blemish.service.types import ENDED, InspectionRow, Job, Page, Upload

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])


def _picture(media_type: str) -> dict[int | str, dict[str, Any]]:
    return examples.file(media_type, "(the file's bytes)", "The picture.")


@router.post(
    "",
    status_code=202,
    responses={
        **examples.response(202, examples.JOB),
        **examples.response(200, examples.JOB, "The job, which has ended."),
    },
    response_model=Job,
)
async def submit(
    here: Here,
    waiting: Waiting,
    response: Response,
    line: Annotated[Short, Form(description="The line's name.", examples=["caps"])],
    files: Annotated[
        list[UploadFile], File(description="Pictures, or ZIP archives of them.", min_length=1)
    ],
    wait: Annotated[
        float, Query(description="Seconds to wait for the job to end.", ge=0, le=60)
    ] = 0,
    idempotency_key: Annotated[
        Short, Header(description="The same key again gives the same job.")
    ] = "",
) -> Job:
    """Send pictures. When this answers, they are on the disk and will be inspected once.

    Whoever waits for a job of which no file can be inspected gets the problem of the first one.
    """

    def work() -> Job:
        job = here.submit(line, uploads(files, here.settings), idempotency_key)
        return here.wait(job.id, wait) if wait else job

    job = await waiting.call(work)
    if wait and job.state == "failed" and job.items[0].fault:
        raise problems.again(job.items[0].fault)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.status_code = 200 if job.state in ENDED else 202
    return job


@router.get("", responses=examples.response(200, examples.PAGE))
def find(
    here: Here,
    wanted: Wanted,
    after: Annotated[
        int | None, Query(description="`next` of the page before.", ge=0, le=2**63 - 1)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page:
    """Inspections, the newest first."""
    return here.find(wanted, after, limit)


@router.get("/{id}", responses=examples.response(200, examples.INSPECTION))
def inspection(here: Here, id: Id) -> InspectionRow:
    """One inspection."""
    return here.inspection(id)


@router.delete("/{id}", status_code=204)
def delete(here: Here, id: Id) -> None:
    """Delete an inspection for good, with its picture and all that was said of it."""
    here.delete_inspection(id)


@router.get(
    "/{id}/original",
    response_class=Response,
    responses=_picture("application/octet-stream"),
)
def original(here: Here, id: Id) -> Response:
    """The file as it came, to be saved under its name and not to be shown."""
    found = here.original(id)
    headers = download(_file_name(found))
    return Response(found.data, media_type="application/octet-stream", headers=headers)


@router.get("/{id}/picture", response_class=Response, responses=_picture("image/jpeg"))
def picture(here: Here, id: Id, view: View = 0, side: Side = 0) -> Response:
    """The inspected part, upright, without metadata."""
    return _kept(here.picture(id, view, side), "image/jpeg")


@router.get("/{id}/nearest", response_class=Response, responses=_picture("image/jpeg"))
def nearest(here: Here, id: Id, side: Side = 0) -> Response:
    """The normal part that it was most like."""
    found = here.nearest(id, side)
    if found is None:
        raise NotFoundError("No normal part is known that this one is most like.")
    return _kept(found, "image/jpeg")


@router.get("/{id}/map", response_class=Response, responses=_picture("image/png"))
def anomaly_map(
    here: Here,
    id: Id,
    view: View = 0,
    coloured: Annotated[
        bool, Query(description="RGBA; else 16-bit grey, 32768 is the operating point.")
    ] = True,
) -> Response:
    """The anomaly map, to be stretched over the picture."""
    return _kept(here.maps(id, view, coloured=coloured), "image/png")


@router.get("/{id}/overlay", response_class=Response, responses=_picture("image/png"))
def overlay(here: Here, id: Id, view: View = 0) -> Response:
    """The part with map, outlines, numbers and verdict drawn in."""
    return _kept(here.overlay(id, view), "image/png")


def _kept(data: bytes, media_type: str) -> Response:
    """What never changes, so that a browser may keep it; nobody in between may."""
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(data, media_type=media_type, headers=headers)


def _file_name(found: Upload) -> str:
    r"""What a file was called, as a name that is safe in any folder, with an ending.

    >>> _file_name(Upload("shift 12\\..\\.a\rb", b"GIF89a"))
    'ab.gif'
    """
    # What does not print may hide how a name goes on.
    last = "".join(c for c in PureWindowsPath(found.name).name if c.isprintable())
    name = last[-100:].strip(". ") or "part"
    return name if PureWindowsPath(name).suffix else name + suffix_of(found.data)
