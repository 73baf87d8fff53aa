"""What a version is to be made of, and its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from blemish import registry
from blemish.errors import ConflictError, InputError
from blemish.service import fitting
from blemish.service.settings import ServiceSettings
from blemish.service.store import tables as t
from blemish.service.types import Reference, Sent, Version


@dataclass(frozen=True)
class Plan:
    """What a version is to be made of; attributes as in `types.Version`.

    Attributes:
        applied: ids of the feedback that it is made for.
    """

    detector: str
    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    standards: str = ""
    language_model: str = ""
    references: tuple[Reference, ...] = ()
    cases: tuple[str, ...] = ()
    why: str = ""
    applied: tuple[str, ...] = ()

    @classmethod
    def of(cls, version: Version) -> Plan:
        """The plan of a further version like this one."""
        return cls(
            version.detector,
            version.class_name,
            version.options,
            version.standards,
            version.language_model,
            version.references,
            version.cases,
        )

    def check(self, settings: ServiceSettings) -> None:
        """Raises OptionError or ReferencesError as `fitting.check`."""
        count = len(self.references)
        fitting.check(self.detector, self.options, self.language_model, count, settings)


def added(session: Session, line: t.Line, number: int, plan: Plan) -> t.Version:
    """The row of a version that is yet to be fitted; its feedback is applied from now on."""
    row = t.Version(
        line_id=line.id,
        number=number,
        detector=registry.detector(plan.detector).name,  # "patch_memory" is understood, too
        class_name=plan.class_name,
        options=dict(plan.options),
        standards=plan.standards,
        language_model=plan.language_model,
        references=[{"name": r.name, "sha256": r.sha256} for r in plan.references],
        cases=list(plan.cases),
        why=plan.why,
    )
    session.add(row)
    if plan.applied:
        session.execute(
            update(t.Feedback)
            .where(t.Feedback.id.in_(plan.applied))
            .values(applied=number)
            .execution_options(synchronize_session=False)
        )
    session.flush()
    return row


def refuse_taken(session: Session, name: str) -> None:
    """Raises ConflictError where there is such a line."""
    if session.scalar(select(t.Line.id).where(t.Line.name == name)):
        raise ConflictError(f"There is a line called {name!r} already. Choose another name.")


def free(name: str, taken: set[str]) -> str:
    """A name that no other reference has, since evidence names references."""
    if not name.strip():
        raise InputError("A reference came without a name.")
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def why_of(references: Sequence[Sent], changes: Mapping[str, Any]) -> str:
    """Why a version was made, where nobody said."""
    came = f"{len(references)} reference{'s' * (len(references) != 1)} came" if references else ""
    changed = f"changed: {', '.join(changes)}" if changes else ""
    return "; ".join(filter(None, (came, changed))) or "fitted again"
