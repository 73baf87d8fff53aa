"""What the station's rows say. Changes need a migration beside the others; a test compares them.

    line ── version           a part type, and its detector as it was fitted each time
      └──── job ── item        files that were accepted together, and each of them
                     └── inspection   at most one of an item, ever
                           ├── message    the dialogue about it
                           └── feedback   what people said of it

Each row has `seq`, which goes up and is never given twice: order comes from it, never from a clock.
Pages and programs know rows by `id`. JSON columns are assigned, never changed in place.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import Connection, Enum, ForeignKey, Index, MetaData, String, event, update
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column, relationship

from blemish.service.store.columns import Counter, Json, Moment, Words, now
from blemish.service.types import ItemState, JobState, Says, VersionState
from blemish.types import DecidedBy, Reason, Verdict

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
_COUNTED = {"sqlite_autoincrement": True}
"""Else SQLite gives the number of a deleted last row again."""
Fault = dict[str, Any]
"""{"error": the error's name, "message": words for a person}."""


def new_id() -> str:
    """A UUID as 32 hexadecimal digits."""
    return uuid.uuid4().hex


def _folded(context: Any) -> str:
    return str(context.get_current_parameters()["name"]).casefold()


class Base(DeclarativeBase):
    """What all tables have."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Words,
        datetime: Moment,
        # Wide enough for words that later versions may add.
        Literal: Enum(native_enum=False, length=32, validate_strings=True),
    }
    __table_args__: Any = _COUNTED

    seq: Mapped[int] = mapped_column(Counter, primary_key=True, sort_order=-2)
    id: Mapped[str] = mapped_column(String(32), unique=True, default=new_id, sort_order=-1)


class Folder(Base):
    """Has one row, whose `id` stands in the folder of the files as well.

    What no row names is deleted there, so that a folder and another database's rows must not meet.
    """

    __tablename__ = "folder"


class Line(Base):
    """A part type; what it is called in prompts and how it is inspected say its versions.

    Attributes:
        current: number of the version that new inspections go through; 0 until one is ready.
    """

    __tablename__ = "line"

    name: Mapped[str] = mapped_column(unique=True)
    current: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime] = mapped_column(default=now)

    versions: Mapped[list[Version]] = relationship(back_populates="line", order_by="Version.number")


class Version(Base):
    """A line's detector as it was fitted once; attributes as in `service.types.Version`.

    Attributes:
        number: from 1, within the line.
        references: {"name", "sha256"} of each.
        folder: of the fitted detector, relative to the station's; "" until it is ready.
    """

    __tablename__ = "version"
    __table_args__ = (Unique("line_id", "number"), _COUNTED)

    line_id: Mapped[str] = mapped_column(ForeignKey("line.id"))
    number: Mapped[int]
    state: Mapped[VersionState] = mapped_column(default="fitting", index=True)
    detector: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    class_name: Mapped[str]
    standards: Mapped[str] = mapped_column(default="")
    language_model: Mapped[str] = mapped_column(default="")
    references: Mapped[list[dict[str, str]]] = mapped_column(Json, default=list)
    cases: Mapped[list[str]] = mapped_column(Json, default=list)
    calibration: Mapped[dict[str, Any] | None] = mapped_column(Json)
    fingerprint: Mapped[str] = mapped_column(default="")
    folder: Mapped[str] = mapped_column(default="")
    why: Mapped[str] = mapped_column(default="")
    fault: Mapped[Fault | None] = mapped_column(Json)
    created: Mapped[datetime] = mapped_column(default=now)

    line: Mapped[Line] = relationship(back_populates="versions")


class Job(Base):
    """Files that were accepted together.

    Attributes:
        key: the request's idempotency key; None where it had none.
        cancelled: somebody asked for it; `state` follows when no worker is at it any more.
    """

    __tablename__ = "job"

    line_id: Mapped[str] = mapped_column(ForeignKey("line.id"), index=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("version.id"))
    state: Mapped[JobState] = mapped_column(default="queued", index=True)
    key: Mapped[str | None] = mapped_column(unique=True)
    cancelled: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    ended: Mapped[datetime | None]

    line: Mapped[Line] = relationship()
    version: Mapped[Version] = relationship()
    items: Mapped[list[Item]] = relationship(back_populates="job", order_by="Item.position")


class Item(Base):
    """One file of a job: `position` is from 0, `sha256` its content in `Files`."""

    __tablename__ = "item"
    __table_args__ = (
        Unique("job_id", "position"),
        Index(None, "state", "seq"),
        _COUNTED,
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    position: Mapped[int]
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[ItemState] = mapped_column(default="queued")
    fault: Mapped[Fault | None] = mapped_column(Json)

    job: Mapped[Job] = relationship(back_populates="items")
    inspection: Mapped[Inspection | None] = relationship(back_populates="item")


class Inspection(Base):
    """What was found on one item; the unique `item_id` is why none is there twice.

    Attributes:
        folded: `name` without regard to case, by itself; for search, since SQLite folds ASCII only.
        row: as a line of inspections.jsonl has it.
        maps: content of each view's map in `Files`.
        overlay: content of the picture with what was found drawn in; "" where there is none.
        seconds: what it took.
        said: what people said of it last, "" for nothing; follows the feedback by itself.
    """

    __tablename__ = "inspection"
    __table_args__ = (
        # What GET /v1/inspections filters by, each in the order in which it answers.
        Index(None, "line_id", "seq"),
        Index(None, "line_id", "verdict", "seq"),
        Index(None, "line_id", "said", "seq"),
        Index(None, "version_id", "seq"),
        Index(None, "verdict", "seq"),
        Index(None, "said", "seq"),
        Index(None, "created"),
        _COUNTED,
    )

    item_id: Mapped[str] = mapped_column(ForeignKey("item.id"), unique=True)
    line_id: Mapped[str] = mapped_column(ForeignKey("line.id"))
    version_id: Mapped[str] = mapped_column(ForeignKey("version.id"))
    name: Mapped[str]
    folded: Mapped[str] = mapped_column(default=_folded)
    sha256: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[Verdict]
    score: Mapped[float | None]
    raw_score: Mapped[float | None]
    decided_by: Mapped[DecidedBy]
    reason: Mapped[Reason] = mapped_column(default="")
    explanation: Mapped[str] = mapped_column(default="")
    row: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    maps: Mapped[list[str]] = mapped_column(Json, default=list)
    overlay: Mapped[str] = mapped_column(String(64), default="")
    seconds: Mapped[float] = mapped_column(default=0.0)
    said: Mapped[Literal["", "right", "good", "defective"]] = mapped_column(default="")
    created: Mapped[datetime] = mapped_column(default=now)

    item: Mapped[Item] = relationship(back_populates="inspection")
    line: Mapped[Line] = relationship()
    version: Mapped[Version] = relationship()
    messages: Mapped[list[Message]] = relationship(
        back_populates="inspection", order_by="Message.number"
    )
    feedback: Mapped[list[Feedback]] = relationship(
        back_populates="inspection", order_by="Feedback.seq.desc()"
    )


class Message(Base):
    """One turn of the dialogue about an inspection; `number` is from 1, within it."""

    __tablename__ = "message"
    __table_args__ = (Unique("inspection_id", "number"), _COUNTED)

    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspection.id"))
    number: Mapped[int]
    role: Mapped[Literal["user", "assistant"]]
    text: Mapped[str]
    model: Mapped[str] = mapped_column(default="")
    fault: Mapped[Fault | None] = mapped_column(Json)
    created: Mapped[datetime] = mapped_column(default=now)

    inspection: Mapped[Inspection] = relationship(back_populates="messages")


class Feedback(Base):
    """What a person said of an inspection; the one with the highest `seq` counts.

    Attributes:
        mark: where the defect is, as [x0, y0, x1, y1] in pixels, or None.
        applied: number of the version that knows it; 0 until then.
    """

    __tablename__ = "feedback"

    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspection.id"), index=True)
    says: Mapped[Says]
    mark: Mapped[list[int] | None] = mapped_column(Json)
    comment: Mapped[str] = mapped_column(default="")
    applied: Mapped[int] = mapped_column(default=0, index=True)
    created: Mapped[datetime] = mapped_column(default=now)

    inspection: Mapped[Inspection] = relationship(back_populates="feedback")


@event.listens_for(Feedback, "before_insert")
def _say(_: Mapper[Feedback], connection: Connection, feedback: Feedback) -> None:
    """Bring `Inspection.said` up to date.

    Before the feedback gets its `seq`: whoever speaks at the same moment waits for the inspection's
    row, so that `said` and the highest `seq` are the same person's.
    """
    about = Inspection.__table__.c.id == feedback.inspection_id
    connection.execute(update(Inspection).where(about).values(said=feedback.says))
