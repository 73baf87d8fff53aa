"""Rows of the store as the dataclasses that cross the station's border, and rows by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from blemish.errors import NotFoundError
from blemish.service import types as out
from blemish.service.store import tables as t

_Row = TypeVar("_Row", t.Line, t.Job, t.Inspection)
Lock = Literal["", "keep", "change"]


def line_named(session: Session, name: str, lock: Lock = "") -> t.Line:
    """A line. Raises NotFoundError.

    Args:
        session: of the store.
        name: of the line.
        lock: nobody else changes ("change") or deletes ("keep") it before the session's end. In
            PostgreSQL; in SQLite whoever may write is alone.
    """
    found = session.scalar(_locked(select(t.Line).where(t.Line.name == name), lock))
    if found is None:
        raise NotFoundError(f"There is no line called {name[:100]!r}.")
    return found


def version_numbered(session: Session, line: t.Line, number: int) -> t.Version:
    """A version of a line. Raises NotFoundError."""
    found = session.scalar(
        select(t.Version).where(t.Version.line_id == line.id, t.Version.number == number)
    )
    if found is None:
        raise NotFoundError(f"The line {line.name!r} has no version {number}.")
    return found


def version_called(session: Session, id: str) -> t.Version:
    """A version by its row's id. Raises NotFoundError."""
    found = session.scalar(select(t.Version).where(t.Version.id == id))
    if found is None:
        raise NotFoundError("The line was deleted.")
    return found


def job_called(session: Session, id: str, lock: Lock = "") -> t.Job:
    """A job, as `line_named`. Raises NotFoundError."""
    found = session.scalar(_locked(select(t.Job).where(t.Job.id == id), lock))
    if found is None:
        raise NotFoundError(f"There is no job {id[:64]!r}.")
    return found


def inspection_called(session: Session, id: str, lock: Lock = "") -> t.Inspection:
    """An inspection, as `line_named`. Raises NotFoundError."""
    found = session.scalar(_locked(select(t.Inspection).where(t.Inspection.id == id), lock))
    if found is None:
        raise NotFoundError(f"There is no inspection {id[:64]!r}.")
    return found


def _locked(wanted: Select[_Row], lock: Lock) -> Select[_Row]:
    keep = lock == "keep"
    return wanted.with_for_update(read=keep, key_share=keep) if lock else wanted


def fault(values: Mapping[str, Any] | None) -> out.Fault | None:
    """What the store keeps of a failure."""
    return out.Fault(values["error"], values["message"]) if values else None


def fault_of(error: BaseException) -> dict[str, str]:
    """A failure as the store keeps it."""
    return {"error": type(error).__name__, "message": str(error)}


def line(session: Session, row: t.Line) -> out.Line:
    """A line with its counts."""
    newest = session.scalar(
        select(t.Version).where(t.Version.line_id == row.id).order_by(t.Version.number.desc())
    )
    current = session.scalar(
        select(t.Version).where(t.Version.line_id == row.id, t.Version.number == row.current)
    )
    count = select(func.count()).select_from(t.Inspection).where(t.Inspection.line_id == row.id)
    last = (
        select(t.Inspection.created)
        .where(t.Inspection.line_id == row.id)
        .order_by(t.Inspection.seq.desc())
        .limit(1)
    )
    shown = current or newest
    return out.Line(
        id=row.id,
        name=row.name,
        class_name=shown.class_name if shown else "object",
        created=row.created,
        current=row.current,
        state=newest.state if newest else "failed",
        versions=newest.number if newest else 0,
        inspections=session.scalar(count) or 0,
        last=session.scalar(last),
    )


def version(row: t.Version, line: t.Line) -> out.Version:
    """A version of a line."""
    return out.Version(
        line=line.name,
        number=row.number,
        state=row.state,
        detector=row.detector,
        class_name=row.class_name,
        created=row.created,
        options=row.options,
        standards=row.standards,
        language_model=row.language_model,
        references=tuple(out.Reference(r["name"], r["sha256"]) for r in row.references),
        cases=tuple(row.cases),
        calibration=row.calibration,
        fingerprint=row.fingerprint,
        why=row.why,
        fault=fault(row.fault),
        current=row.number == line.current,
    )


def jobs(
    session: Session, rows: Sequence[t.Job], running: frozenset[str] = frozenset()
) -> list[out.Job]:
    """Jobs without their items; `running` are those that a worker has in hand."""
    if not rows:
        return []
    counted = session.execute(
        select(t.Item.job_id, t.Item.state, func.count())
        .where(t.Item.job_id.in_([row.id for row in rows]))
        .group_by(t.Item.job_id, t.Item.state)
    )
    counts: dict[str, dict[str, int]] = {}
    for job_id, state, number in counted:
        counts.setdefault(job_id, {})[state] = number
    return [_job(row, counts.get(row.id, {}), row.id in running) for row in rows]


def _job(row: t.Job, counts: Mapping[str, int], running: bool) -> out.Job:
    begun = row.state == "queued" and (running or row.started is not None)
    return out.Job(
        id=row.id,
        line=row.line.name,
        version=row.version.number,
        state="running" if begun else row.state,
        total=sum(counts.values()),
        created=row.created,
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        started=row.started,
        ended=row.ended,
    )


def items(session: Session, job_id: str, after: int = 0) -> list[out.ItemRow]:
    """The items of a job, in order."""
    found = session.execute(
        select(t.Item, t.Inspection.id, t.Inspection.verdict)
        .outerjoin(t.Inspection, t.Inspection.item_id == t.Item.id)
        .where(t.Item.job_id == job_id, t.Item.position >= after)
        .order_by(t.Item.position)
    )
    return [
        out.ItemRow(
            position=item.position,
            name=item.name,
            state=item.state,
            inspection=inspection or "",
            verdict=verdict or "",
            fault=fault(item.fault),
        )
        for item, inspection, verdict in found
    ]


def feedback(row: t.Feedback | Row[*tuple[Any, ...]]) -> out.Feedback:
    """What a person said, by its row or by that row's columns."""
    mark = cast("tuple[int, int, int, int]", tuple(row.mark)) if row.mark else None
    return out.Feedback(
        id=row.id,
        inspection=row.inspection_id,
        says=row.says,
        created=row.created,
        mark=mark,
        comment=row.comment,
        applied=row.applied,
    )


def message(row: t.Message) -> out.MessageRow:
    """A turn of a dialogue."""
    return out.MessageRow(row.number, row.role, row.text, row.created, row.model, fault(row.fault))


def inspection(row: t.Inspection) -> out.InspectionRow:
    """An inspection; its line, version, item and feedback are loaded with it or one by one."""
    kept = row.row
    return out.InspectionRow(
        id=row.id,
        number=row.seq,
        line=row.line.name,
        version=row.version.number,
        job=row.item.job_id,
        name=row.name,
        sha256=row.sha256,
        verdict=row.verdict,
        score=row.score,
        decided_by=row.decided_by,
        created=row.created,
        reason=row.reason,
        raw_score=row.raw_score,
        explanation=row.explanation,
        sizes=tuple((height, width) for height, width in kept["sizes"]),
        regions=tuple(kept["regions"]),
        evidence=kept["evidence"],
        usage=kept["usage"],
        maps=len(row.maps),
        seconds=row.seconds,
        feedback=tuple(feedback(said) for said in row.feedback),
    )
