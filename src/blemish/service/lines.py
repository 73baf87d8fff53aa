"""Lines and their versions: made, switched, and left to the fitter."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from blemish.errors import ConflictError, OptionError
from blemish.images import decode_image
from blemish.service import records
from blemish.service.plans import Plan, added, free, refuse_taken, why_of
from blemish.service.shop import LINES, Shop
from blemish.service.store import tables as t
from blemish.service.store.files import Put
from blemish.service.types import Line, NewLine, Reference, Sent, Version

_log = logging.getLogger(__name__)
CHANGEABLE = ("class_name", "standards", "detector", "options", "language_model")


class Lines:
    """See the module; methods as those of `Station`."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def all(self) -> tuple[Line, ...]:
        """All lines, by name."""
        with self._shop.database.reading() as session:
            rows = session.scalars(select(t.Line)).all()
            found = [records.line(session, row) for row in rows]
        return tuple(sorted(found, key=lambda line: line.name.casefold()))

    def one(self, name: str) -> Line:
        """A line by its name."""
        with self._shop.database.reading() as session:
            return records.line(session, records.line_named(session, name))

    def versions(self, name: str) -> tuple[Version, ...]:
        """The versions of a line, the newest first."""
        with self._shop.database.reading() as session:
            line = records.line_named(session, name)
            return tuple(records.version(row, line) for row in reversed(line.versions))

    def version(self, name: str, number: int) -> Version:
        """One version of a line."""
        with self._shop.database.reading() as session:
            line = records.line_named(session, name)
            return records.version(records.version_numbered(session, line, number), line)

    def create(self, new: NewLine) -> Line:
        """Make a line and begin to fit it."""
        with self._shop.database.reading() as session:
            refuse_taken(session, new.name)
        with self._shop.files.held() as put:
            plan = Plan(
                new.detector,
                new.class_name,
                dict(new.options),
                new.standards,
                new.language_model,
                _kept(put, new.references),
                why="first version",
            )
            plan.check(self._shop.settings)
            with self._shop.database.session() as session:
                refuse_taken(session, new.name)
                line = t.Line(name=new.name)
                session.add(line)
                session.flush()
                added(session, line, 1, plan)
        self._shop.news.tell(LINES)
        return self.one(new.name)

    def fit(self, seen: Line, plan: Plan) -> Version:
        """Begin to fit a further version of a line.

        Args:
            seen: the line as it was when the plan was made.
            plan: what to fit.
        """
        plan.check(self._shop.settings)
        with self._shop.database.session() as session:
            line = records.line_named(session, seen.name, lock="change")
            newest = line.versions[-1]
            if newest.state == "fitting":
                raise ConflictError(
                    f"Version {newest.number} of {line.name!r} is being fitted. Wait until it is "
                    "ready."
                )
            if (line.current, newest.number) != (seen.current, seen.versions):
                # Else what somebody else just changed would be undone without a word.
                raise ConflictError(
                    f"The line {line.name!r} was changed meanwhile. Look at it, and do this again."
                )
            row = added(session, line, newest.number + 1, plan)
            made = records.version(row, line)
        self._shop.news.tell(LINES)
        return made

    def changed(
        self,
        name: str,
        references: Sequence[Sent],
        why: str,
        keep: bool,
        changes: Mapping[str, Any],
        version: int,
    ) -> Version:
        """See `Station.fit`."""
        if strange := [change for change in changes if change not in CHANGEABLE]:
            raise OptionError(
                f"A version has no {strange[0]!r} that could change; expected some of "
                f"{', '.join(CHANGEABLE)}."
            )
        seen = self.one(name)
        base = self.version(name, version or seen.current or seen.versions)
        with self._shop.files.held() as put:
            known = _kept(put, references, base.references if keep else ())
            plan = replace(Plan.of(base), references=known, why=why or why_of(references, changes))
            return self.fit(seen, replace(plan, **changes))

    def switch(self, name: str, number: int) -> Line:
        """Send new inspections through another version."""
        with self._shop.database.session() as session:
            line = records.line_named(session, name, lock="change")
            version = records.version_numbered(session, line, number)
            if version.state != "ready":
                raise ConflictError(
                    f"Version {number} of {name!r} is not ready: it is {version.state}."
                )
            line.current = number
        self._shop.news.tell(LINES)
        return self.one(name)


def _kept(put: Put, sent: Sequence[Sent], known: Iterable[Reference] = ()) -> tuple[Reference, ...]:
    """References in the store after those that are known; a picture that comes twice is one.

    Raises:
        ImageError: one is no picture that can be read.
    """
    found = {reference.sha256: reference for reference in known}
    for one in sent:
        data = one.data
        decode_image(data, one.name)
        sha256 = put(data)
        taken = {reference.name for reference in found.values()}
        found.setdefault(sha256, Reference(free(one.name, taken), sha256))
    return tuple(found.values())
