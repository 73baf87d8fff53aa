"""What goes for good: an inspection, a job, a line, and what is older than the station is to keep.

First the rows, then the files that no other row names. A picture that a version knows as a good
part stays as long as its line does.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, select
from sqlalchemy.orm import Session

from blemish.errors import BlemishError, ConflictError
from blemish.service import records
from blemish.service.shop import LINES, SWEEP, Shop
from blemish.service.store import tables as t
from blemish.service.store.columns import now
from blemish.service.types import ENDED

_log = logging.getLogger(__name__)
_AT_ONCE = 500
"""Files of jobs that go in one transaction, so that others need not wait long."""
_READ = 5000
"""Rows that are read in one transaction."""
_LOOKED_AT = 200_000
"""Files on the disk that are compared with all rows at once."""
_EVERY = 3600.0
_REST = 5.0
"""Seconds between two looks at what is old, and at least between two looks at all rows."""


class Erasing:
    """See the module; methods as those of `Station`, and a thread that sweeps up behind them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin to sweep; once."""
        self._thread.start()

    def close(self) -> None:
        """Stop after what is under way."""
        self._stop.set()
        self._shop.news.tell(SWEEP)
        if self._thread.ident is not None:
            self._thread.join()

    def inspection(self, id: str) -> None:
        """Delete an inspection with all that was said of it, and its file."""
        with self._shop.database.session() as session:
            row = records.inspection_called(session, id, lock="change")
            going = _erased(session, [row.item_id])
        self._sweep_soon(going)

    def job(self, id: str) -> None:
        """Delete a job that has ended, with its inspections and files."""
        with self._shop.database.reading() as session:
            job = records.job_called(session, id)
            if job.state not in ENDED:
                raise ConflictError(f"The job {id} has not ended. Cancel it first.")
        self._items(t.Item.job_id == id)

    def line(self, name: str) -> None:
        """Delete a line with its versions, jobs and inspections."""
        with self._shop.database.session() as session:
            line = records.line_named(session, name, lock="change")
            line.current = 0  # accepts nothing more
            id = line.id
        of_line = t.Job.line_id == id
        self._items(of_line)
        with self._shop.database.session() as session:
            line = records.line_named(session, name, lock="change")
            going = _erased(session, session.scalars(_items(of_line)).all())
            versions = session.scalars(select(t.Version).where(t.Version.line_id == line.id)).all()
            going |= {r["sha256"] for version in versions for r in version.references}
            for table in (t.Job, t.Version):
                _delete(session, table, table.line_id == line.id)
            _delete(session, t.Line, t.Line.id == line.id)
        self._shop.detectors.forget(self._shop.fitted / id)
        self._shop.news.tell(LINES)
        self._sweep_soon(going)

    def _items(self, which: ColumnElement[bool]) -> None:
        """Delete items, some at a time."""
        more = True
        while more:
            with self._shop.database.session() as session:
                some = session.scalars(_items(which).limit(_AT_ONCE)).all()
                going = _erased(session, some)
                more = len(some) == _AT_ONCE
            self._sweep_soon(going)

    def expire(self) -> None:
        """Delete what ended more than `keep_days` days ago, but for the labelled cases."""
        if not self._shop.settings.keep_days:
            return
        before = now() - timedelta(days=self._shop.settings.keep_days)
        while not self._stop.is_set():
            with self._shop.database.session() as session:
                cases = {id for some in session.scalars(select(t.Version.cases)) for id in some}
                kept = select(t.Inspection.item_id).where(t.Inspection.id.in_(cases))
                old = and_(t.Job.ended < before, t.Item.id.not_in(kept))
                some = session.scalars(_items(old).limit(_AT_ONCE)).all()
                going = _erased(session, some)
            self._shop.files.loose.put(going)
            if len(some) < _AT_ONCE:
                break

    def sweep(self, names: set[str]) -> None:
        """Delete those files that no row names, and what was made of them."""
        for name in self._shop.files.drop(names, self._named):
            self._shop.small.drop(name)

    def _sweep_soon(self, names: set[str]) -> None:
        self._shop.files.loose.put(names)
        self._shop.news.tell(SWEEP)

    def _run(self) -> None:
        everything = True
        while not self._stop.is_set():
            seen = self._shop.news.count(SWEEP)
            try:
                if everything:  # a station that was killed may have left files without rows
                    self._sweep_all()
                    everything = False
                self.expire()
                self._sweep_waiting()
                self._sweep_detectors()
            except Exception as error:
                level = logging.WARNING if isinstance(error, BlemishError) else logging.ERROR
                _log.log(level, "Nothing was swept up: %s", type(error).__name__)
            self._stop.wait(_REST)
            self._shop.news.wait(SWEEP, seen, _EVERY)

    def _sweep_waiting(self) -> None:
        going: set[str] = set()
        with contextlib.suppress(queue.Empty):
            while True:
                going |= self._shop.files.loose.get_nowait()
        try:
            if going:
                self.sweep(going)
        except Exception:
            self._shop.files.loose.put(going)
            raise

    def _sweep_all(self) -> None:
        names = self._shop.files.names()
        while some := set(islice(names, _LOOKED_AT)):
            self.sweep(some)
        for name in self._shop.small.names():
            if not self._shop.files.path(name).exists():
                self._shop.small.drop(name)

    def _sweep_detectors(self) -> None:
        """Delete fitted detectors of lines that are no more; folders first, then rows are read."""
        folders = [path for path in self._shop.fitted.glob("*") if path.is_dir()]
        if not folders:
            return
        with self._shop.database.reading() as session:
            known = set(session.scalars(select(t.Line.id)))
        for path in folders:
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    def _named(self, names: set[str]) -> set[str]:
        """Which of some files are named by rows."""
        found: set[str] = set()
        with self._shop.database.reading() as session:
            for references in session.scalars(select(t.Version.references)):
                found |= names & {r["sha256"] for r in references}
        for _, sha256 in self._rows(t.Item.seq, t.Item.sha256):
            if sha256 in names:
                found.add(sha256)
        for _, maps, overlay in self._rows(
            t.Inspection.seq, t.Inspection.maps, t.Inspection.overlay
        ):
            found |= names & {*maps, overlay}
        return found

    def _rows(self, seq: Any, *columns: Any) -> Iterator[Any]:
        """All rows of a table, some in each transaction."""
        last = 0
        while True:
            wanted = select(seq, *columns).where(seq > last).order_by(seq).limit(_READ)
            with self._shop.database.reading() as session:
                rows = session.execute(wanted).all()
            yield from rows
            if len(rows) < _READ:
                return
            last = rows[-1][0]


def _items(which: ColumnElement[bool]) -> Select[str]:
    """The ids of items, the oldest first, kept from whoever else would change them."""
    chosen = select(t.Item.id).join(t.Job).where(which)
    return chosen.order_by(t.Item.seq).with_for_update(of=t.Item)


def _erased(session: Session, items: Sequence[str]) -> set[str]:
    """Delete items with all that came of them, and jobs of which nothing is left; the files."""
    of_items = t.Item.id.in_(items)
    going = {sha256 for sha256 in session.scalars(select(t.Item.sha256).where(of_items))}
    jobs = session.scalars(select(t.Item.job_id).where(of_items).distinct()).all()
    found = session.execute(
        select(t.Inspection.id, t.Inspection.maps, t.Inspection.overlay).where(
            t.Inspection.item_id.in_(items)
        )
    ).all()
    for _, maps, overlay in found:
        going |= {*maps, overlay} - {""}
    ids = [id for id, _, _ in found]
    for table in (t.Feedback, t.Message):
        _delete(session, table, table.inspection_id.in_(ids))
    _delete(session, t.Inspection, t.Inspection.id.in_(ids))
    _delete(session, t.Item, of_items)
    left = select(t.Item.job_id).where(t.Item.job_id.in_(jobs))
    _delete(session, t.Job, t.Job.id.in_(jobs), t.Job.id.not_in(left))
    return going


def _delete(session: Session, table: type[t.Base], *which: Any) -> None:
    session.execute(delete(table).where(*which).execution_options(synchronize_session=False))
