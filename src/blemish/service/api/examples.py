"""What OpenAPI shows as examples: values as the station gives them, written as the routes write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from blemish.service.quality import Change, Comparison, Health, Rates
from blemish.service.types import (
    Feedback,
    InspectionRow,
    ItemRow,
    Job,
    Line,
    MessageRow,
    Page,
    Reference,
    Version,
)

_THEN = datetime(2026, 3, 31, 9, 30, tzinfo=UTC)
_ID, _JOB_ID, _SHA = "0f" * 16, "1e" * 16, "2d" * 32

LINE = Line(_ID, "caps", "bottle cap", _THEN, current=1, state="ready", versions=1)
VERSION = Version(
    "caps",
    1,
    "ready",
    "patch-memory",
    "bottle cap",
    _THEN,
    references=(Reference("good_1.png", _SHA),),
    why="first",
    current=True,
)
JOB = Job(
    _JOB_ID,
    "caps",
    1,
    "done",
    total=1,
    created=_THEN,
    done=1,
    ended=_THEN,
    items=(ItemRow(0, "part.png", "done", _ID, "anomalous"),),
)
FEEDBACK = Feedback("3c" * 16, _ID, "good", _THEN, comment="Dust.")
INSPECTION = InspectionRow(
    _ID,
    1,
    "caps",
    1,
    _JOB_ID,
    "part.png",
    _SHA,
    "anomalous",
    0.91,
    "calibration",
    _THEN,
    raw_score=0.42,
    sizes=((480, 640),),
    regions=({"label": 1, "box": [10, 20, 60, 70], "score": 0.9, "position": "top left"},),
    maps=1,
    seconds=0.3,
    feedback=(FEEDBACK,),
)
PAGE = Page((INSPECTION,), next=None, total=1)
MESSAGE = MessageRow(1, "user", "Where is the defect?", _THEN)
COMPARISON = Comparison(
    "caps", 1, 2, looked_at=40, changes=(Change(_ID, "part.png", "anomalous", "normal"),)
)
HEALTH = Health("caps", Rates(40, good=10, defective=5, overkill=1), versions=((1, Rates(40)),))


def response(status: int, value: Any, about: str = "") -> dict[int | str, dict[str, Any]]:
    """An answer with an example, for a route's `responses`."""
    shown = TypeAdapter(Any).dump_python(value, mode="json")
    said = {"content": {"application/json": {"example": shown}}}
    return {status: {**said, "description": about} if about else said}


def stream(example: str) -> dict[int | str, dict[str, Any]]:
    """Server-sent events, for a route's `responses`."""
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": "Server-sent events.", "content": content}}


def file(media_type: str, example: str, about: str) -> dict[int | str, dict[str, Any]]:
    """A file, for a route's `responses`; of one that is no text the example says what it is."""
    schema = {"type": "string", "format": "binary"}
    return {
        200: {
            "description": about,
            "content": {media_type: {"schema": schema, "example": example}},
        }
    }
