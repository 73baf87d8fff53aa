"""For OpenAI's clients: a line is a model that looks at the picture in a chat and talks about it.

The last picture of a chat is inspected, once for all requests that begin alike, because clients
send the whole chat anew with each question. The question is that of the last message; what was said
before is what the chat says from its picture on, for it belongs to whoever sends it: the station
keeps nothing of it, and tells it nobody else. Instructions of the system have no effect. Without a
question, or where nobody can talk about a line's parts, the answer is what was found, in words.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from blemish.errors import (
    BlemishError,
    ConflictError,
    ImageError,
    InputError,
    NotFoundError,
    OptionError,
    ServiceError,
)
from blemish.service import problems, remote, streams
from blemish.service.api import examples
from blemish.service.api.shared import Here, Name, Short, Waiting
from blemish.service.station import Station
from blemish.service.types import Fault, InspectionRow, Line, Upload

router = APIRouter(prefix="/v1", tags=["openai"], responses=problems.documented(openai=True))
PATIENCE = 120.0
"""Seconds that a chat waits for its picture to be inspected."""
_DATA = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_MOST = 1000
"""Messages of a chat, and parts of a message."""
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class ImageUrl(BaseModel):
    """A picture."""

    url: str = Field(
        description="A data address, data:image/png;base64,... or one of a host that is allowed."
    )


class Part(BaseModel):
    """A text or a picture."""

    type: Literal["text", "image_url"]
    text: _Text = ""
    image_url: ImageUrl | None = None


class Message(BaseModel):
    """One turn of the chat."""

    role: Literal["system", "developer", "user", "assistant"]
    # The first part that is wrong is enough: to list a million of them takes many seconds.
    content: _Text | Annotated[list[Part], Field(max_length=_MOST, fail_fast=True)] | None = None

    def parts(self) -> list[Part]:
        """Its content as parts."""
        if isinstance(self.content, str):
            return [Part(type="text", text=self.content)]
        return self.content or []


class Chat(BaseModel):
    """What to answer; other fields of OpenAI's are allowed and have no effect."""

    model: Short = Field(description="A line's name.")
    messages: list[Message] = Field(min_length=1, max_length=_MOST, fail_fast=True)
    stream: bool = False

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "model": "caps",
                    "messages": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": "Is this cap fine?"},
                                {
                                    "type": "image_url",
                                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
                                },
                            ],
                        }
                    ],
                }
            ]
        }
    }


class Model(BaseModel):
    """A line."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "blemish"


class Models(BaseModel):
    """The lines that are ready."""

    object: Literal["list"] = "list"
    data: list[Model]


class Completion(BaseModel):
    """The answer. `inspection` is the station's own: id, verdict and score of the part."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[dict[str, Any]]
    inspection: dict[str, Any]


_MODEL = Model(id="caps", created=1774949400)
_COMPLETION = Completion(
    id="chatcmpl-1",
    created=1774949400,
    model="caps",
    choices=[
        {
            "index": 0,
            "message": {"role": "assistant", "content": "There is a scratch at the top left."},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    inspection={"id": "0f" * 16, "verdict": "anomalous", "score": 0.91},
)


@router.get("/models", responses=examples.response(200, Models(data=[_MODEL])))
def models(here: Here) -> Models:
    """The lines that are ready, as models."""
    return Models(data=[_model(line) for line in here.lines() if line.current])


@router.get("/models/{model}", responses=examples.response(200, _MODEL))
def model(here: Here, model: Name) -> Model:
    """One line as a model."""
    return _model(here.line(model))


def _answers() -> dict[int | str, dict[str, Any]]:
    """An answer as a whole, and as a stream."""
    found = examples.response(200, _COMPLETION)
    chunk = 'data: {"object": "chat.completion.chunk", "choices": [...]}\n\ndata: [DONE]\n\n'
    found[200]["content"] |= examples.stream(chunk)[200]["content"]
    return found


@router.post(
    "/chat/completions",
    response_model=Completion,
    responses=_answers(),
)
async def chat(here: Here, waiting: Waiting, chat: Chat) -> Any:
    """Inspect the picture of a chat and answer its last question."""
    row, source = await waiting.call(lambda: _begin(here, chat))
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": chat.model}
    found = {"id": row.id, "verdict": row.verdict, "score": row.score}
    if chat.stream:
        chunk = {**head, "object": "chat.completion.chunk", "inspection": found}
        return streams.events(_chunks(chunk, waiting.pieces(source)))
    text = await waiting.call(lambda: "".join(source))
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return Completion.model_validate({**head, "choices": [choice], "inspection": found})


async def _chunks(head: Mapping[str, Any], pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """The answer as OpenAI's clients read it."""

    def chunk(delta: Mapping[str, str], why: str | None = None) -> bytes:
        return streams.event(
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}
        )

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for text in pieces:
            yield chunk({"content": text})
    except BlemishError as error:
        yield streams.event(json.loads(bytes(problems.of(error, "/v1/chat/").body)))
    else:
        yield chunk({}, "stop")
    yield b"data: [DONE]\n\n"


def _begin(here: Station, chat: Chat) -> tuple[InspectionRow, Iterator[str]]:
    """The inspection of the picture, and the answer to come."""
    line = here.line(chat.model)
    if not line.current:
        raise ConflictError(f"The line {line.name!r} has no version that is ready yet.")
    last = max(
        (i for i, m in enumerate(chat.messages) if any(p.type == "image_url" for p in m.parts())),
        default=None,
    )
    if last is None:
        raise InputError(
            "No picture came. Put one into a message: an image_url with a data address."
        )
    row = _inspected(here, line, chat.messages[: last + 1])
    question = _text(chat.messages[-1])
    if question and chat.messages[-1].role == "user":
        try:
            return row, here.reply(row.id, _said(chat.messages[last:-1]), question)
        except OptionError:
            pass  # nobody can talk about this line's parts
    return row, iter([report(row)])


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts() if part.type == "text").strip()


def _said(messages: list[Message]) -> list[tuple[str, str]]:
    """Questions that were answered, with their answers, in order."""
    pairs = pairwise((message.role, _text(message)) for message in messages)
    return [
        (asked, answered)
        for (asks, asked), (answers, answered) in pairs
        if (asks, answers) == ("user", "assistant") and asked and answered
    ]


def _inspected(here: Station, line: Line, messages: list[Message]) -> InspectionRow:
    addresses = [p.image_url.url for p in messages[-1].parts() if p.image_url]
    if not addresses:
        raise InputError("A part of the type image_url has no image_url.")
    picture = Upload("chat", _data(addresses[-1], here.settings.image_hosts))
    # With the picture itself: what lies at an address may be another one each time.
    came = hashlib.sha256(picture.data).hexdigest()
    begun = [line.id, line.current, came, *(m.model_dump_json() for m in messages)]
    key = "chat-" + hashlib.sha256(json.dumps(begun).encode()).hexdigest()
    job = here.wait(here.submit(line.name, [picture], key).id, PATIENCE)
    if job.state == "cancelled" or (job.items[0].fault and not _hopeless(job.items[0].fault)):
        # What failed then need not fail now.
        job = here.wait(here.submit(line.name, [picture]).id, PATIENCE)
    item = job.items[0]
    if item.inspection:
        return here.inspection(item.inspection)
    if item.fault:
        raise problems.again(item.fault)
    raise ServiceError("The picture still waits to be inspected. Send the same chat again later.")


def _hopeless(fault: Fault) -> bool:
    return fault.error == ImageError.__name__


def _data(address: str, hosts: Collection[str]) -> bytes:
    start = _DATA.match(address)
    if not start:
        return remote.fetched(address, hosts)
    try:
        return base64.b64decode(address[start.end() :], validate=True)
    except ValueError as cause:  # of the library's own, and of letters that are not ASCII
        raise InputError(f"The picture's data address is no base64: {cause}.") from cause


def report(row: InspectionRow) -> str:
    """What was found, in words."""
    score = "" if row.score is None else f", score {row.score:.2f}"
    reason = f", {row.reason}" if row.reason else ""
    said = [f"{row.verdict.capitalize()}{reason}{score} (decided by the {row.decided_by})."]
    for region in row.regions:
        x0, y0, x1, y1 = region["box"]
        said.append(
            f"Region {region['label']}, {region['position']}: x {x0} to {x1}, y {y0} to {y1}, "
            f"score {region['score']:.2f}."
        )
    return " ".join([*said, row.explanation]).strip()


def _model(line: Line) -> Model:
    if not line.current:
        raise NotFoundError(f"The line {line.name!r} has no version that is ready yet.")
    return Model(id=line.name, created=int(line.created.timestamp()))
