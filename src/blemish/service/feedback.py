"""What people say of verdicts, at work: references, labelled cases, and a line's health.

A rejected find (an anomalous or unsure verdict on a part that is good) joins the references of the
next version, so that its patches are normal ones from then on. A missed defect (a normal or unsure
verdict on a defective part) becomes a labelled case, which every later comparison reports. Whoever
was mistaken says so, and the next version is without that reference or case again. The calibration
is redone by fitting. All other feedback is only counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blemish.errors import ConflictError, InputError, NotFoundError
from blemish.service import fitting, records
from blemish.service.compare import Comparing, comparison, refuse_unready
from blemish.service.lines import Lines
from blemish.service.plans import Plan
from blemish.service.quality import Comparison, Health, Truth, rates, true_of
from blemish.service.shop import Shop
from blemish.service.store import tables as t
from blemish.service.types import Feedback, Line, Reference, Says, Version
from blemish.types import Verdict

LONGEST_COMMENT = 2000
Mark = tuple[int, int, int, int]
Count = Counter[tuple[Verdict, Truth]]


@dataclass(frozen=True)
class Waiting:
    """The last word on a picture, which no version knows yet, and the inspection it is about."""

    feedback: Feedback
    verdict: Verdict
    name: str
    sha256: str

    @property
    def truth(self) -> Truth:
        """What the part is."""
        return true_of(self.verdict, self.feedback.says)

    @property
    def rejected(self) -> bool:
        """A find that was none."""
        return self.truth == "good" and self.verdict != "normal"

    @property
    def missed(self) -> bool:
        """A defect that was not found, or not surely."""
        return self.truth == "defective" and self.verdict != "anomalous"

    def teaches(self, references: Container[str], cases: Container[str]) -> bool:
        """Whether a version would be another one if it knew this. The rest is only counted.

        Args:
            references: pictures of that version's good parts.
            cases: pictures of its labelled cases.
        """
        known, case = self.sha256 in references, self.sha256 in cases
        if self.truth == "good":
            return case or (self.rejected and not known)
        return self.truth == "defective" and (known or (self.missed and not case))


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

        Only the last word on each picture counts, whichever inspection of it that was about.
        """
        with self._shop.database.reading() as session:
            row = records.line_named(session, line)
            if not row.current:
                return []
            current = records.version(records.version_numbered(session, row, row.current), row)
            cases = _pictures(session, current.cases)
            # Plain columns of those only of which something was said: there may be many words.
            about = (t.Inspection.verdict, t.Inspection.name, t.Inspection.sha256)
            words = session.execute(
                select(*t.Feedback.__table__.columns, *about)
                .join(t.Inspection, t.Inspection.id == t.Feedback.inspection_id)
                .where(t.Inspection.line_id == row.id, t.Inspection.said.in_(get_args(Says)))
                .order_by(t.Feedback.seq)
            ).all()
        references = {reference.sha256 for reference in current.references}
        last = {word.sha256: word for word in words}
        found = [
            Waiting(records.feedback(word), word.verdict, word.name, word.sha256)
            for word in words
            if word is last[word.sha256] and not word.applied
        ]
        return [one for one in found if one.teaches(references, cases)]

    def preview(self, line: str, ids: Sequence[str]) -> Comparison:
        """What would change; a detector is fitted for it and thrown away."""
        current = self._current(self._lines.one(line))
        plan = self._plan(line, current, ids)
        would = replace(
            current, number=0, references=plan.references, cases=plan.cases, current=False
        )
        where = {"device": self._shop.settings.device, "dtype": self._shop.settings.dtype}
        with self._comparing.turn():
            normals = self._shop.normals(would.references, would.class_name)
            detector = fitting.fitted(would, normals, self._shop.cases(would), where)
            found, older = self._comparing.history(line, would.cases)
            first = self._comparing.of(current, found)
            second = self._comparing.judgements(detector, would, found)
            return comparison((current, first), (would, second), found, older)

    def apply(self, line: str, ids: Sequence[str]) -> Version:
        """Begin to fit a version that knows feedback."""
        seen = self._lines.one(line)
        return self._lines.fit(seen, self._plan(line, self._current(seen), ids))

    def _current(self, line: Line) -> Version:
        if not line.current:
            raise ConflictError(f"The line {line.name!r} has no version that is ready.")
        current = self._lines.version(line.name, line.current)
        refuse_unready(current)
        return current

    def _plan(self, line: str, current: Version, ids: Sequence[str]) -> Plan:
        """The version that would know what waits, or the feedback that is named."""
        waiting, named = self.waiting(line), set(ids)
        if strange := named - {one.feedback.id for one in waiting}:
            raise NotFoundError(
                f"The feedback {min(strange)!r} does not wait: it is applied, or was overruled by "
                f"a later word, or is not of the line {line!r}."
            )
        chosen = [one for one in waiting if not named or one.feedback.id in named]
        if not chosen:
            raise ConflictError(
                f"No feedback would teach the line {line!r} anything. Say first which verdicts "
                "are wrong."
            )
        rejected = [one for one in chosen if one.rejected]
        missed = [one for one in chosen if one.missed]
        if rejected and not fitting.learns(current.detector):
            raise ConflictError(
                f"{current.detector} compares with no good parts, so that rejected finds teach it "
                "nothing. Give the line a detector that does, such as patch-memory."
            )
        # By picture; the last word is right, whatever was said before.
        good = {one.sha256 for one in chosen if one.truth == "good"}
        defects = {one.sha256 for one in chosen if one.truth == "defective"}
        with self._shop.database.reading() as session:
            known = _pictures(session, current.cases)
        cases = {sha256: id for sha256, id in known.items() if sha256 not in good}
        references = {r.sha256: r for r in current.references if r.sha256 not in defects}
        back = len(known) - len(cases) + len(current.references) - len(references)
        for one in missed:
            cases.setdefault(one.sha256, one.feedback.inspection)
        for one in rejected:
            name = f"{one.name} (good by feedback, {one.feedback.inspection[:8]})"
            references.setdefault(one.sha256, Reference(name, one.sha256))
        if current.references and not references:
            raise ConflictError(
                f"Feedback says that every good part that the line {line!r} compares with is "
                "defective. Add pictures of good parts, or take that back."
            )
        counts = [(len(rejected), "rejected find"), (len(missed), "missed defect")]
        why = ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts)
        return replace(
            Plan.of(current),
            references=tuple(references.values()),
            cases=tuple(cases.values()),
            why=f"feedback: {why}" + (f", {back} taken back" if back else ""),
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


def _pictures(session: Session, cases: Sequence[str]) -> dict[str, str]:
    """The pictures of labelled cases, each with the first inspection of it, in their order."""
    wanted = select(t.Inspection.id, t.Inspection.sha256).where(t.Inspection.id.in_(cases))
    known = {id: sha256 for id, sha256 in session.execute(wanted)}
    return {known[id]: id for id in reversed(cases) if id in known}


def _check(mark: Sequence[int], height: int, width: int) -> None:
    x0, y0, x1, y1 = mark
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"The mark {list(mark)} does not lie within the picture; expected [x0, y0, x1, y1] in "
            f"pixels with x0 < x1 <= {width} and y0 < y1 <= {height}."
        )
