"""What people say of verdicts, and a line that learns from it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from blemish.service.api import examples
from blemish.service.api.shared import MOST_WORDS, Here, Id, Long, Name, Waiting
from blemish.service.quality import Comparison
from blemish.service.types import Feedback, Says, Version

router = APIRouter(tags=["feedback"])
_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_Pixel = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Said(BaseModel):
    """What a person says of a verdict."""

    says: Says = Field(description="The verdict is right; the part is good; it has a defect.")
    mark: tuple[_Pixel, _Pixel, _Pixel, _Pixel] | None = Field(
        default=None, description="Where the defect is: x0, y0, x1, y1 in pixels."
    )
    comment: Long = ""

    model_config = {"json_schema_extra": {"examples": [{"says": "good", "comment": "Dust."}]}}


class Chosen(BaseModel):
    """Which feedback."""

    feedback: list[_Id] = Field(
        default_factory=list,
        description="All that waits where empty.",
        max_length=MOST_WORDS,
        fail_fast=True,
    )

    model_config = {"json_schema_extra": {"examples": [{"feedback": []}]}}


@router.post(
    "/v1/inspections/{id}/feedback",
    status_code=201,
    responses=examples.response(201, examples.FEEDBACK),
)
def say(here: Here, id: Id, said: Said) -> Feedback:
    """Note whether a verdict was right; the last word on an inspection counts."""
    return here.say(id, said.says, said.mark, said.comment)


@router.get(
    "/v1/lines/{name}/feedback/preview", responses=examples.response(200, examples.COMPARISON)
)
async def preview(
    here: Here,
    waiting: Waiting,
    name: Name,
    feedback: Annotated[list[_Id], Query(description="All that waits where empty.")] = [],  # noqa: B006
) -> Comparison:
    """What else in the history would change if feedback were applied; nothing is kept."""
    return await waiting.call(lambda: here.preview(name, feedback))


@router.post(
    "/v1/lines/{name}/feedback/apply",
    status_code=202,
    responses=examples.response(202, examples.VERSION),
)
def apply(here: Here, name: Name, chosen: Chosen) -> Version:
    """Begin to fit a version that knows feedback."""
    return here.apply(name, chosen.feedback)
