"""Jobs: how far they are, as they go on, and cancelling them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool

from blemish.errors import BlemishError
from blemish.service import streams
from blemish.service.api import examples
from blemish.service.api.shared import Here, Id, Short, Waiting
from blemish.service.types import Job, Progress

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_PROGRESS = TypeAdapter(Progress)


@router.get("", responses=examples.response(200, [examples.JOB]))
def jobs(
    here: Here,
    line: Annotated[Short, Query(description="A line's name; empty for all.")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> tuple[Job, ...]:
    """The newest jobs, without their items."""
    return here.jobs(line, limit)


@router.get("/{id}", responses=examples.response(200, examples.JOB))
def job(here: Here, id: Id) -> Job:
    """One job with its items."""
    return here.job(id)


@router.delete("/{id}", status_code=204)
def delete_job(here: Here, id: Id) -> None:
    """Delete a job that has ended for good, with its inspections and all files that came."""
    here.delete_job(id)


@router.post("/{id}/cancel", responses=examples.response(200, examples.JOB))
def cancel(here: Here, id: Id) -> Job:
    """Inspect no more of its files; what is inspected stays."""
    return here.cancel(id)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses=examples.stream('event: progress\ndata: {"job": "...", "state": "done", ...}\n\n'),
)
async def events(here: Here, waiting: Waiting, id: Id) -> StreamingResponse:
    """How a job goes on, as server-sent events called "progress", until it has ended.

    An event "failed" says why there are no more.
    """
    source = await run_in_threadpool(here.events, id)

    async def body() -> AsyncIterator[bytes]:
        try:
            async for progress in waiting.pieces(source):
                yield streams.event(_PROGRESS.dump_python(progress, mode="json"), "progress")
        except BlemishError as error:
            yield streams.failed(error)

    return streams.events(body())
