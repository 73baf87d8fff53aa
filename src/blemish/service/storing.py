"""What workers found, into the store: inspection, item and job in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blemish.errors import NotFoundError, SavedError
from blemish.runs import reading
from blemish.service import records
from blemish.service.store import tables as t
from blemish.service.store.columns import now
from blemish.service.store.database import Database
from blemish.types import Failure, Inspection, Sample


@dataclass(frozen=True)
class Taken:
    """An item in a worker's hands."""

    id: str
    job: str
    name: str
    sha256: str


Read = tuple[Taken, Sample | Exception]


@dataclass(frozen=True, eq=False)
class Done:
    """What became of an item.

    Attributes:
        item: which.
        result: its inspection, without maps; or why there is none.
        row: of inspections.jsonl; empty for a failure.
        maps: what they are called in the store.
        seconds: what it took.
    """

    item: Taken
    result: Inspection | Failure
    row: Mapping[str, Any] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    seconds: float = 0.0


def store(database: Database, version_id: str, done: Sequence[Done]) -> None:
    """All of a batch in one transaction; what was cancelled or deleted meanwhile is left out."""
    with database.session() as session:
        ids = [one.item.id for one in done]
        queued = {
            item.id: item
            for item in session.scalars(
                select(t.Item)
                .where(t.Item.id.in_(ids), t.Item.state == "queued")
                .order_by(t.Item.seq)
                .with_for_update()
            )
        }
        if not queued:
            return
        version = records.version_called(session, version_id)
        for one in done:
            if (item := queued.get(one.item.id)) is not None:
                _put(session, item, one, version)
        session.flush()
        for job_id in sorted({item.job_id for item in queued.values()}):
            _advance(session, job_id)


def failed(item: Taken, error: Exception) -> Done:
    """An item that could not be inspected, with the cause in words."""
    if isinstance(error, NotFoundError):  # a file that was accepted is gone from the disk
        error = SavedError(str(error))
    failure = reading.failure(item.name, error)
    return Done(item, failure)


def _put(session: Session, item: t.Item, done: Done, version: t.Version) -> None:
    result = done.result
    if isinstance(result, Failure):
        item.state, item.fault = "failed", {"error": result.error, "message": result.message}
        return
    item.state = "done"
    session.add(
        t.Inspection(
            item_id=item.id,
            line_id=version.line_id,
            version_id=version.id,
            name=item.name,
            sha256=item.sha256,
            verdict=result.verdict,
            score=result.score,
            raw_score=result.raw_score,
            decided_by=result.decided_by,
            reason=result.reason,
            explanation=result.explanation,
            row={**done.row, "path": item.name},
            maps=list(done.maps),
            seconds=done.seconds,
        )
    )


def _advance(session: Session, job_id: str) -> None:
    """Bring a job's state up to date with its items, of which others may store some as well."""
    job = records.job_called(session, job_id, lock="change")
    job.started = job.started or now()
    counted = session.execute(
        select(t.Item.state, func.count()).where(t.Item.job_id == job_id).group_by(t.Item.state)
    )
    counts = {state: number for state, number in counted}
    if counts.get("queued") or job.cancelled:
        job.state = "cancelled" if job.cancelled else "running"
        return
    job.state = "done" if counts.get("done") else "failed"
    job.ended = now()
