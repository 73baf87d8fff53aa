"""Lines and their versions: made, fitted in the background, switched, ready after a restart."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from blemish.errors import ConflictError, NotFoundError, OptionError, OutputError, StoreBusyError
from blemish.images import decode_image
from blemish.runs import reading
from blemish.service import fitting, records
from blemish.service.plans import Plan, added, free, refuse_taken, why_of
from blemish.service.shop import FITTED, LINES, Shop
from blemish.service.store import tables as t
from blemish.service.store.files import Put
from blemish.service.types import Line, NewLine, Reference, Sent, Version
from blemish.types import Example

_log = logging.getLogger(__name__)
CHANGEABLE = ("class_name", "standards", "detector", "options", "language_model")


class Lines:
    """See the module; methods as those of `Station`."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._fitter = ThreadPoolExecutor(1, "fit")
        self._closing = threading.Event()

    def resume(self) -> None:
        """Fit what was being fitted when the station stopped."""
        with self._shop.database.reading() as session:
            waiting = session.scalars(
                select(t.Version.id).where(t.Version.state == "fitting").order_by(t.Version.seq)
            ).all()
        for id in waiting:
            self._fitter.submit(self._fit, id)

    def close(self) -> None:
        """Let the version that is being fitted come to its end; the rest waits for a start."""
        self._closing.set()
        self._fitter.shutdown(wait=True, cancel_futures=True)

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
                version = added(session, line, 1, plan)
        self._begin(version.id)
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
        self._begin(row.id)
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

    def _begin(self, id: str) -> None:
        try:
            self._fitter.submit(self._fit, id)
        except RuntimeError:  # the station is closing; a start takes it up
            _log.info("A version waits for the next start")
        self._shop.news.tell(LINES)

    def _fit(self, id: str) -> None:
        """Fit a version and say so in the store, whatever happens."""
        pause = 0.0
        while not self._closing.wait(pause):
            try:
                self._fitted_or_failed(id)
                break
            except (StoreBusyError, OutputError) as error:  # gone in a while, perhaps
                pause = min(30.0, 2 * pause + 0.25)
                _log.warning("A version waits for %.1f s: %s", pause, type(error).__name__)
            except Exception as error:  # it is fitted at the next start
                _log.error("A version waits for the next start: %s", type(error).__name__)
                break
        self._shop.news.tell(LINES)

    def _fitted_or_failed(self, id: str) -> None:
        try:
            self._fitted(id)
        except StoreBusyError:
            raise
        except Exception as error:
            said = reading.failure("The version", error)
            _log.warning("A version could not be fitted: %s", said.error)
            with contextlib.suppress(NotFoundError):  # the line was deleted meanwhile
                self._failed(id, {"error": said.error, "message": said.message})

    def _fitted(self, id: str) -> None:
        row, version = self._shop.version(id)
        if row.state != "fitting":
            return
        folder = f"{FITTED}/{row.line_id}/{row.number}"
        where = {"device": self._shop.settings.device, "dtype": self._shop.settings.dtype}
        normals = self._shop.normals(version.references, version.class_name)
        detector = fitting.fitted(version, normals, self.cases(version), where)
        fitting.save(detector, self._shop.settings.folder / folder)
        self._shop.detectors.put(self._shop.settings.folder / folder, detector)
        calibration = detector.calibration
        with self._shop.database.session() as session:
            found = records.version_called(session, id)
            line = records.line_named(session, found.line.name, lock="change")
            found.state = "ready"
            found.folder = folder
            found.fingerprint = detector.fingerprint
            found.calibration = calibration.to_json() if calibration else None
            line.current = max(line.current, found.number)

    def _failed(self, id: str, fault: dict[str, str]) -> None:
        with self._shop.database.session() as session:
            found = records.version_called(session, id)
            found.state, found.fault = "failed", fault
            of_line = select(t.Inspection.id).where(t.Inspection.line_id == found.line_id)
            session.execute(
                update(t.Feedback)
                .where(t.Feedback.applied == found.number, t.Feedback.inspection_id.in_(of_line))
                .values(applied=0)
                .execution_options(synchronize_session=False)
            )

    def cases(self, version: Version) -> list[Example]:
        """The labelled defects of a version, for detectors that learn from such."""
        if not version.cases:
            return []
        with self._shop.database.reading() as session:
            rows = session.scalars(
                select(t.Inspection).where(t.Inspection.id.in_(version.cases))
            ).all()
            found = [records.inspection(row) for row in rows]
        return [
            Example(
                self._shop.sample(row, version),
                "anomalous",
                kind=(row.feedback[0].comment if row.feedback else "") or "defect",
            )
            for row in found
        ]


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
