"""What the routes share: the station, texts, uploads and filters as they come over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import IO, Annotated, Literal
from urllib.parse import quote

from fastapi import Depends, Path, Query, Request, UploadFile
from pydantic import Field

from blemish.service import zips
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.streams import Streams
from blemish.service.types import Filter, Incoming, Says, Sent
from blemish.types import Verdict

# PostgreSQL keeps no text with a zero in it.
_PLAIN = r"^[^\x00]*$"
Short = Annotated[str, Field(max_length=200, pattern=_PLAIN)]
Long = Annotated[str, Field(max_length=8000, pattern=_PLAIN)]
Name = Annotated[
    str, Path(description="The line's name.", max_length=100, pattern=_PLAIN, examples=["caps"])
]
Id = Annotated[
    str,
    Path(description="32 hexadecimal digits.", pattern=r"^[0-9a-f]{32}$", examples=["0f" * 16]),
]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
View = Annotated[int, Query(description="Which view, from 0.", ge=0, le=2**31 - 1)]
Side = Annotated[
    int, Query(description="Longest side in pixels; 0: its own, at most 65,500.", ge=0, le=8192)
]

MOST_WORDS = 10_000
"""Words of people that one request applies."""


async def _station(request: Request) -> Station:
    station: Station = request.app.state.station
    return station


async def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


Here = Annotated[Station, Depends(_station)]
Waiting = Annotated[Streams, Depends(_streams)]


def uploads(files: Sequence[UploadFile], settings: ServiceSettings) -> tuple[Sent, ...]:
    """The files of a form, with those of ZIP archives in their place, read when they are kept.

    Raises:
        InputError: an archive cannot be used.
    """
    came = (
        Incoming((one.filename or "").replace("\0", ""), partial(_rewound, one)) for one in files
    )
    limits = zips.Limits(settings.max_zip_entries, 4 * settings.max_body, settings.zip_ratio)
    return zips.unpacked(came, limits)


def download(name: str) -> dict[str, str]:
    r"""The header by which a browser saves a response under a name, and does not show it.

    >>> download("ü.png")["Content-Disposition"]
    'attachment; filename="_.png"; filename*=UTF-8\'\'%C3%BC.png'
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-") else "_" for c in name)
    said = f'attachment; filename="{plain}"'
    if plain != name:
        said += f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": said}


def _rewound(file: UploadFile) -> AbstractContextManager[IO[bytes]]:
    """A file of a form from its first byte on; the framework closes it after the request."""
    file.file.seek(0)
    return nullcontext(file.file)


def _utc(moment: datetime | None) -> datetime | None:
    """A moment in UTC; one that names no zone is taken as UTC."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # of the first and the last day that there is
        return moment.replace(tzinfo=UTC)


async def _filter(
    line: Annotated[Short, Query(description="A line's name.")] = "",
    verdict: Annotated[Verdict | Literal[""], Query()] = "",
    version: Annotated[int, Query(description="0 for any.", ge=0, le=2**31 - 1)] = 0,
    job: Annotated[str, Query(description="A job's id.", pattern="^([0-9a-f]{32})?$")] = "",
    since: Annotated[datetime | None, Query(description="Created then or later.")] = None,
    until: Annotated[datetime | None, Query(description="Created before.")] = None,
    feedback: Annotated[
        Says | Literal["", "any", "none"], Query(description="What was said last.")
    ] = "",
    name: Annotated[Short, Query(description="A part of the file's name.")] = "",
) -> Filter:
    return Filter(line, verdict, version, job, _utc(since), _utc(until), feedback, name)


Wanted = Annotated[Filter, Depends(_filter)]
