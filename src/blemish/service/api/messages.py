"""Dialogue about an inspection: answers arrive piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from blemish.errors import BlemishError
from blemish.service import streams
from blemish.service.api import examples
from blemish.service.api.shared import Here, Id, Long, Short, Waiting
from blemish.service.types import MessageRow

router = APIRouter(prefix="/v1/inspections/{id}/messages", tags=["messages"])


class Question(BaseModel):
    """What to answer."""

    question: Long = Field(min_length=1, max_length=4000)
    llm: Short = Field(default="", description="Another language model than the line's.")

    model_config = {"json_schema_extra": {"examples": [{"question": "Where is the defect?"}]}}


@router.get("", responses=examples.response(200, [examples.MESSAGE]))
def messages(here: Here, id: Id) -> tuple[MessageRow, ...]:
    """The dialogue so far, the oldest first."""
    return here.messages(id)


@router.post(
    "",
    response_class=StreamingResponse,
    responses=examples.stream('event: piece\ndata: {"text": "At the top"}\n\nevent: done\n'),
)
async def ask(here: Here, waiting: Waiting, id: Id, question: Question) -> StreamingResponse:
    """Ask; the answer comes as server-sent events "piece", and "done" or "failed" at its end."""
    source = await run_in_threadpool(here.ask, id, question.question, question.llm)

    async def body() -> AsyncIterator[bytes]:
        try:
            async for text in waiting.pieces(source):
                yield streams.event({"text": text}, "piece")
        except BlemishError as error:
            yield streams.failed(error)
        else:
            yield streams.event({}, "done")

    return streams.events(body())
