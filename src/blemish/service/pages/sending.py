"""Where pictures come in: the first page, batches, and how a batch goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import File, Form, Query, Response, UploadFile

from blemish.service.api.shared import Here, Id, Short, Waiting, uploads
from blemish.service.pages.render import go, page, page_router
from blemish.service.station import Station
from blemish.service.streams import Streams
from blemish.service.types import ENDED, Filter, Job, Line

router = page_router()
_RECENT = 12
_MOMENT = 4.0
"""Seconds that a browser waits for a single picture before it is shown the progress instead."""
_Line = Annotated[Short, Query()]


def _chosen(lines: tuple[Line, ...], name: str) -> Line | None:
    """The line that is asked for, else the one that was used last."""
    named = next((line for line in lines if line.name == name), None)
    return named or max(lines, key=lambda line: line.last or line.created, default=None)


@router.get("/")
def first(here: Here, line: _Line = "") -> Response:
    """Send a picture; with no line yet, how to get one."""
    lines = here.lines()
    chosen = _chosen(lines, line)
    if chosen is None:
        return page("welcome.html", "inspect")
    # First what goes on: what ends meanwhile is shown as unfinished, and the page looks again.
    working = any(job.state not in ENDED for job in here.jobs(chosen.name, limit=5))
    recent = here.find(Filter(line=chosen.name), limit=_RECENT).items
    return page("inspect.html", "inspect", lines=lines, line=chosen, recent=recent, working=working)


@router.post("/inspect")
async def submit(
    here: Here,
    waiting: Waiting,
    line: Annotated[Short, Form()],
    files: Annotated[list[UploadFile], File()],
) -> Response:
    """Take pictures; a single one is shown as soon as it is inspected."""
    return await shown_soon(here, waiting, lambda: here.submit(line, uploads(files, here.settings)))


async def shown_soon(here: Station, waiting: Streams, submit: Callable[[], Job]) -> Response:
    """To the result of a single picture if it comes in a moment, else to the progress."""

    def work() -> Job:
        job = submit()
        return here.wait(job.id, _MOMENT) if job.total == 1 else job

    job = await waiting.call(work)
    if job.total == 1 and job.items and job.items[0].inspection:
        return go(f"/inspections/{job.items[0].inspection}")
    return go(f"/jobs/{job.id}")


@router.get("/batch")
def batches(here: Here, line: _Line = "") -> Response:
    """Send many pictures, and see what became of those before."""
    lines = here.lines()
    chosen = _chosen(lines, line)
    return page("batch.html", "batch", lines=lines, line=chosen, jobs=here.jobs(limit=20))


@router.get("/jobs/{id}")
def job(here: Here, id: Id) -> Response:
    """How a batch goes on."""
    found = here.job(id)
    return page("job.html", "batch", job=found, ended=found.state in ENDED)


@router.post("/jobs/{id}/cancel")
def cancel(here: Here, id: Id) -> Response:
    """Inspect no more of a batch."""
    here.cancel(id)
    return go(f"/jobs/{id}")
