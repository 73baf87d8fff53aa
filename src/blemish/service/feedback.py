"""What people say of verdicts, at work: references, labelled cases, and a line's health.

A rejected find (an anomalous or unsure verdict on a part that is good) joins the references of the
next version, so that its patches are normal ones from then on. A missed defect (a normal or unsure
verdict on a defective part) becomes a labelled case, which every later comparison reports. The
calibration is redone by fitting. All other feedback is only counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from blemish.errors import ConflictError, InputError, NotFoundError
from blemish.service import fitting, records
from blemish.service.compare import Comparing, comparison, refuse_unready
from blemish.service.lines import Lines
from blemish.service.plans import Plan
from blemish.service.quality import Comparison, Health, Truth, rates, true_of
from blemish.service.shop import Shop
from blemish.service.store import tables as t
from blemish.service.types import Feedback, InspectionRow, Reference, Says, Version
from blemish.types import Verdict

LONGEST_COMMENT = 2000
Mark = tuple[int, int, int, int]
Count = Counter[tuple[Verdict, Truth]]


@dataclass(frozen=True)
class Waiting:
    """Feedback that no version knows yet, with what it is about."""

    feedback: Feedback
    inspection: InspectionRow

    @property
    def rejected(self) -> bool:
        """A find that was none."""
        return self.feedback.says == "good" and self.inspection.verdict != "normal"

    @property
    def missed(self) -> bool:
        """A defect that was not found, or not surely."""
        return self.feedback.says == "defective" and self.inspection.verdict != "anomalous"

    def teaches(self, version: Version) -> bool:
        """Whether a version would be another one if it knew this. The rest is only counted."""
        known = any(self.inspection.sha256 == r.sha256 for r in version.references)
        case = self.inspection.id in version.cases
        if self.feedback.says == "good":
            return case or (self.rejected and not known)
        return self.feedback.says == "defective" and (known or (self.missed and not case))


class Listening:
    """See the module; methods as those of `Station`."""

    def __init__(self, shop: Shop, lines: Lines, comparing: Comparing) -> None:
        self._shop = shop
        self._lines = lines
        self._comparing = comparing

    def say(self, id: str, says: Says, mark: Mark | None, comment: str) -> Feedback:
        """Note what a person says of a verdict."""
        if says not in get_args(Says):
            raise InputError(f"Feedback says {says!r}; expected one of {get_args(Says)}.")
        if len(comment) > LONGEST_COMMENT:
            raise InputError(
                f"The comment has {len(comment)} characters; expected at most {LONGEST_COMMENT}."
            )
        with self._shop.database.session() as session:
            row = records.inspection_called(session, id, lock="keep")
            if mark is not None:
                _check(mark, *row.row["sizes"][0])
            said = t.Feedback(
                inspection_id=id, says=says, mark=list(mark) if mark else None, comment=comment
            )
            session.add(said)
            session.flush()
            return records.feedback(said)

    def waiting(self, line: str) -> list[Waiting]:
        """What would teach a line's current version something, the oldest first.

        Only the last word on each inspection counts.
        """
        with self._shop.database.reading() as session:
            row = records.line_named(session, line)
            of_line = row.id
            if not row.current:
                return []
            current = records.version(records.version_numbered(session, row, row.current), row)
            last = (
                select(func.max(t.Feedback.seq))
                .join(t.Inspection, t.Inspection.id == t.Feedback.inspection_id)
                .where(t.Inspection.line_id == of_line)
                .group_by(t.Feedback.inspection_id)
            )
            rows = session.scalars(
                select(t.Feedback)
                .where(
                    t.Feedback.seq.in_(last), t.Feedback.applied == 0, t.Feedback.says != "right"
                )
                .options(joinedload(t.Feedback.inspection))
                .order_by(t.Feedback.seq)
            ).all()
            found = [
                Waiting(records.feedback(row), records.inspection(row.inspection)) for row in rows
            ]
            return [one for one in found if one.teaches(current)]

    def preview(self, line: str, ids: Sequence[str]) -> Comparison:
        """What would change; a detector is fitted for it and thrown away."""
        current = self._current(line)
        plan = self._plan(line, current, ids)
        would = replace(
            current, number=0, references=plan.references, cases=plan.cases, current=False
        )
        where = {"device": self._shop.settings.device, "dtype": self._shop.settings.dtype}
        with self._comparing.turn():
            normals = self._shop.normals(would.references, would.class_name)
            detector = fitting.fitted(would, normals, self._lines.cases(would), where)
            found, older = self._comparing.history(line, would.cases)
            first = self._comparing.of(current, found)
            second = self._comparing.judgements(detector, would, found)
            return comparison((current, first), (would, second), found, older)

    def apply(self, line: str, ids: Sequence[str]) -> Version:
        """Begin to fit a version that knows feedback."""
        return self._lines.fit(line, self._plan(line, self._current(line), ids))

    def _current(self, line: str) -> Version:
        number = self._lines.one(line).current
        if not number:
            raise ConflictError(f"The line {line!r} has no version that is ready.")
        current = self._lines.version(line, number)
        refuse_unready(current)
        return current

    def _plan(self, line: str, current: Version, ids: Sequence[str]) -> Plan:
        """The version that would know what waits, or the feedback that is named."""
        waiting = self.waiting(line)
        if strange := set(ids) - {one.feedback.id for one in waiting}:
            raise NotFoundError(
                f"The feedback {min(strange)!r} does not wait: it is applied, or was overruled by "
                f"a later word, or is not of the line {line!r}."
            )
        chosen = [one for one in waiting if not ids or one.feedback.id in ids]
        if not chosen:
            raise ConflictError(
                f"No feedback would teach the line {line!r} anything. Say first which verdicts "
                "are wrong."
            )
        rejected = [one.inspection for one in chosen if one.rejected]
        missed = [one.inspection for one in chosen if one.missed]
        if rejected and not fitting.learns(current.detector):
            raise ConflictError(
                f"{current.detector} compares with no good parts, so that rejected finds teach it "
                "nothing. Give the line a detector that does, such as patch-memory."
            )
        defective = [one.inspection for one in chosen if one.feedback.says == "defective"]
        # What is said to be good now is no defect, whatever was said before.
        wrong = {one.inspection.id for one in chosen if one.feedback.says == "good"}
        cases = [id for id in current.cases if id not in wrong] + [row.id for row in missed]
        return replace(
            Plan.of(current),
            references=_joined(current.references, rejected, defective),
            cases=tuple(dict.fromkeys(cases)),
            why=f"feedback: {_counted(rejected, 'rejected find')}, "
            f"{_counted(missed, 'missed defect')}",
            applied=tuple(one.feedback.id for one in chosen),
        )

    def health(self, line: str) -> Health:
        """Overkill and misses, over all and by version and day."""
        created: Any = t.Inspection.created
        if self._shop.database.kind == "postgresql":
            created = func.timezone("UTC", created)
        day = func.date(created)
        with self._shop.database.reading() as session:
            of_line = records.line_named(session, line).id
            found = session.execute(
                select(t.Inspection.verdict, t.Inspection.said, t.Version.number, day, func.count())
                .join(t.Version, t.Version.id == t.Inspection.version_id)
                .where(t.Inspection.line_id == of_line)
                .group_by(t.Inspection.verdict, t.Inspection.said, t.Version.number, day)
            ).all()
        overall: Count = Counter()
        versions: defaultdict[int, Count] = defaultdict(Counter)
        days: defaultdict[str, Count] = defaultdict(Counter)
        for verdict, said, number, date, count in found:
            known = (verdict, true_of(verdict, said or None))
            for counter in (overall, versions[number], days[str(date)]):
                counter[known] += count
        return Health(
            line=line,
            overall=rates(overall),
            versions=tuple((number, rates(versions[number])) for number in sorted(versions)),
            days=tuple((date, rates(days[date])) for date in sorted(days)),
            waiting=tuple(one.feedback for one in self.waiting(line)),
        )


def _counted(rows: Sequence[InspectionRow], what: str) -> str:
    return f"{len(rows)} {what}{'s' * (len(rows) != 1)}"


def _joined(
    known: Sequence[Reference],
    rejected: Sequence[InspectionRow],
    defective: Sequence[InspectionRow],
) -> tuple[Reference, ...]:
    """References with the pictures of rejected finds, and without those of defects."""
    defects = {row.sha256 for row in defective}
    joined = {r.sha256: r for r in known if r.sha256 not in defects}
    for row in rejected:
        name = f"{row.name} (good by feedback, {row.id[:8]})"
        joined.setdefault(row.sha256, Reference(name, row.sha256))
    return tuple(joined.values())


def _check(mark: Sequence[int], height: int, width: int) -> None:
    x0, y0, x1, y1 = mark
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"The mark {list(mark)} does not lie within the picture; expected [x0, y0, x1, y1] in "
            f"pixels with x0 < x1 <= {width} and y0 < y1 <= {height}."
        )
