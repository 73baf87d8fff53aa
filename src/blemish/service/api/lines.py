"""Lines: make, fit anew, compare, switch, and how well they do."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from pydantic import BaseModel

from blemish.errors import OptionError
from blemish.service.api import examples
from blemish.service.api.shared import Here, Long, Name, Number, Short, Waiting, uploads
from blemish.service.quality import Comparison, Health
from blemish.service.types import Line, NewLine, Version

router = APIRouter(prefix="/v1/lines", tags=["lines"])
_Options = Annotated[
    Long, Form(description="The detector's options as a JSON object.", examples=['{"size": 448}'])
]
_References = Annotated[
    list[UploadFile], File(description="Pictures of normal parts, or ZIP archives of them.")
]


class Current(BaseModel):
    """Which version new inspections go through."""

    version: Number

    model_config = {"json_schema_extra": {"examples": [{"version": 2}]}}


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
        # Python reads what is no JSON and no database keeps: NaN, 1e999, half a surrogate pair.
        json.dumps(options, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as cause:
        raise OptionError(f"The options are no JSON: {cause}.") from cause
    if not isinstance(options, dict):
        raise OptionError('The options are no JSON object, such as {"size": 448}.')
    return options


@router.get("", responses=examples.response(200, [examples.LINE]))
def lines(here: Here) -> tuple[Line, ...]:
    """All lines, by name."""
    return here.lines()


@router.post("", status_code=201, responses=examples.response(201, examples.LINE))
def create_line(
    here: Here,
    response: Response,
    name: Annotated[Short, Form(description="Unique, 1 to 100 characters.", examples=["caps"])],
    class_name: Annotated[Short, Form(description="What the part is.")] = "object",
    standards: Annotated[Long, Form(description="What a normal part looks like.")] = "",
    detector: Annotated[Short, Form(description="A registered name.")] = "patch-memory",
    options: _Options = "{}",
    language_model: Annotated[Short, Form(description='Such as "openai:gpt-5".')] = "",
    references: _References = [],  # noqa: B006 (read by FastAPI, never changed)
) -> Line:
    """Make a line, and begin to fit it; it is ready when its `state` says so."""
    new = NewLine(
        name,
        class_name,
        standards,
        detector,
        _options(options),
        language_model,
        uploads(references, here.settings),
    )
    made = here.create_line(new)
    response.headers["Location"] = f"/v1/lines/{quote(made.name)}"
    return made


@router.get("/{name}", responses=examples.response(200, examples.LINE))
def line(here: Here, name: Name) -> Line:
    """One line."""
    return here.line(name)


@router.delete("/{name}", status_code=204)
def delete_line(here: Here, name: Name) -> None:
    """Delete a line for good, with its versions, jobs, inspections and their pictures."""
    here.delete_line(name)


@router.get("/{name}/versions", responses=examples.response(200, [examples.VERSION]))
def versions(here: Here, name: Name) -> tuple[Version, ...]:
    """A line's versions, the newest first."""
    return here.versions(name)


@router.post(
    "/{name}/versions", status_code=202, responses=examples.response(202, examples.VERSION)
)
def fit(
    here: Here,
    name: Name,
    references: _References = [],  # noqa: B006
    why: Annotated[Long, Form(description="Why, in words.")] = "",
    keep: Annotated[bool, Form(description="Keep the references of the version below.")] = True,
    version: Annotated[
        int, Form(description="Which version to start from; 0: the current.", ge=0, le=2**31 - 1)
    ] = 0,
) -> Version:
    """Begin to fit a further version, which becomes the current one when it is ready."""
    return here.fit(name, uploads(references, here.settings), why, keep=keep, version=version)


@router.put("/{name}/current", responses=examples.response(200, examples.LINE))
def switch(here: Here, name: Name, current: Current) -> Line:
    """Send new inspections through another version."""
    return here.switch(name, current.version)


@router.get("/{name}/compare", responses=examples.response(200, examples.COMPARISON))
async def compare(
    here: Here,
    waiting: Waiting,
    name: Name,
    before: Annotated[Number, Query(examples=[1])],
    after: Annotated[Number, Query(examples=[2])],
) -> Comparison:
    """Two versions on the kept history."""
    return await waiting.call(lambda: here.compare(name, before, after))


@router.get("/{name}/health", responses=examples.response(200, examples.HEALTH))
def health(here: Here, name: Name) -> Health:
    """Overkill and misses by what people said, in all, by version and by day."""
    return here.health(name)
