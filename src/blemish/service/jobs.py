"""Jobs: files that were accepted together. What is accepted is in the store before that is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from blemish.errors import ConflictError, InputError, ServiceError
from blemish.service import records
from blemish.service.shop import WORK, Shop
from blemish.service.store import tables as t
from blemish.service.store.columns import now
from blemish.service.store.files import Put, sha256_of
from blemish.service.types import ENDED, ItemRow, Job, Progress, Sent

HEARTBEAT = 15.0
"""Seconds after which an event comes though nothing has changed, so that nobody hangs up."""
LONGEST_KEY = 200


class Jobs:
    """See the module; methods as those of `Station`.

    Args:
        shop: the store.
        running: the ids of jobs that a worker has in hand.
    """

    def __init__(self, shop: Shop, running: Callable[[], frozenset[str]]) -> None:
        self._shop = shop
        self._running = running

    def submit(self, name: str, files: Sequence[Sent], key: str = "") -> Job:
        """Accept files; see `Station.submit`."""
        if len(key) > LONGEST_KEY:
            raise InputError(f"The idempotency key is longer than {LONGEST_KEY} characters.")
        if not 0 < len(files) <= self._shop.settings.max_files:
            raise InputError(
                f"{len(files)} files came; expected 1 to {self._shop.settings.max_files}."
            )
        with self._shop.database.reading() as session:
            known = _with_key(session, key)
            if known is None:
                self._admit(session, name, len(files))
        if known is not None:
            return self._twin(known, name, [_sha256(sent) for sent in files])
        # First the files, then the rows that name them.
        with self._shop.files.held() as put:
            kept = [(sent.name, _put(sent, put)) for sent in files]
            try:
                id = self._insert(name, kept, key)
            except ConflictError:
                with self._shop.database.reading() as session:
                    twin = _with_key(session, key)  # the same request came twice at once
                if twin is None:
                    raise
                self._shop.files.loose.put({sha256 for _, sha256 in kept})
                return self._twin(twin, name, [sha256 for _, sha256 in kept])
        self._shop.news.tell(WORK)
        return self.job(id)

    def _twin(self, id: str, name: str, pictures: Sequence[str]) -> Job:
        """The job that a request has made before. Refuses one that only has the same key."""
        with self._shop.database.reading() as session:
            row = records.job_called(session, id)
            same = row.line.name == name and pictures == [item.sha256 for item in row.items]
        if not same:
            raise ConflictError(
                f"The idempotency key came with other files or another line before, for the job "
                f"{id}, or some of that job's inspections were deleted. Give each request a key of "
                "its own."
            )
        return self.job(id)

    def _admit(self, session: Session, name: str, count: int) -> t.Version:
        """The version that will inspect. Refuses what cannot be taken on."""
        line = records.line_named(session, name)
        if not line.current:
            raise ConflictError(
                f"The line {name!r} has no version that is ready. Wait until it is fitted, or "
                "mend what its version says."
            )
        waiting = session.scalar(
            select(func.count()).select_from(t.Item).where(t.Item.state == "queued")
        )
        most = self._shop.settings.max_queue
        if (waiting or 0) + count > most:
            raise ServiceError(
                f"{waiting} files wait already, {count} more came, and {most} may wait. Send them "
                "again later."
            )
        return records.version_numbered(session, line, line.current)

    def _insert(self, name: str, kept: Sequence[tuple[str, str]], key: str) -> str:
        with self._shop.database.session() as session:
            records.line_named(session, name, lock="keep")
            version = self._admit(session, name, len(kept))
            job = t.Job(line_id=version.line_id, version_id=version.id, key=key or None)
            session.add(job)
            session.flush()
            session.add_all(
                t.Item(job_id=job.id, position=position, name=called, sha256=sha256)
                for position, (called, sha256) in enumerate(kept)
            )
            session.flush()
            return job.id

    def job(self, id: str) -> Job:
        """A job with its items."""
        with self._shop.database.reading() as session:
            row = records.job_called(session, id)
            found = records.jobs(session, [row], self._running())[0]
            return replace(found, items=tuple(records.items(session, id)))

    def all(self, name: str = "", limit: int = 50) -> tuple[Job, ...]:
        """The newest jobs, without items."""
        with self._shop.database.reading() as session:
            wanted = (
                select(t.Job)
                .options(joinedload(t.Job.line), joinedload(t.Job.version))
                .order_by(t.Job.seq.desc())
                .limit(max(1, min(limit, 500)))
            )
            if name:
                wanted = wanted.where(t.Job.line_id == records.line_named(session, name).id)
            rows = session.scalars(wanted).all()
            return tuple(records.jobs(session, rows, self._running()))

    def cancel(self, id: str) -> Job:
        """Inspect no more of its files; what a worker has in hand is dropped."""
        with self._shop.database.session() as session:
            # Items first, then their job, as workers go: else each might wait for the other.
            session.execute(
                update(t.Item)
                .where(t.Item.job_id == id, t.Item.state == "queued")
                .values(state="cancelled")
                .execution_options(synchronize_session=False)
            )
            job = records.job_called(session, id, lock="change")
            if job.state not in ENDED:
                job.cancelled, job.state, job.ended = True, "cancelled", now()
        self._shop.news.tell(id)
        return self.job(id)

    def wait(self, id: str, seconds: float) -> Job:
        """The job when it has ended, or as it is after so many seconds."""
        until = time.monotonic() + seconds
        while True:
            seen = self._shop.news.count(id)
            found = self.job(id)
            left = until - time.monotonic()
            if found.state in ENDED or left <= 0:
                return found
            self._shop.news.wait(id, seen, min(left, HEARTBEAT))

    def events(self, id: str) -> Iterator[Progress]:
        """How a job goes on; see `Station.events`."""
        self.job(id)  # not found is said at once, not at the first event
        return self._events(id)

    def _events(self, id: str) -> Iterator[Progress]:
        ended: set[int] = set()
        last: Progress | None = None
        spoken = 0.0
        while last is None or last.state not in ENDED:
            seen = self._shop.news.count(id)
            found = self.job(id)
            news = [item for item in found.items if _over(item) and item.position not in ended]
            ended.update(item.position for item in news)
            told = Progress(id, found.state, found.total, found.done, found.failed, tuple(news))
            late = time.monotonic() - spoken >= HEARTBEAT
            if news or last is None or told.state != last.state or late:
                last, spoken = told, time.monotonic()
                yield told
            if told.state not in ENDED:
                self._shop.news.wait(id, seen, HEARTBEAT - (time.monotonic() - spoken))


def _over(item: ItemRow) -> bool:
    return item.state in ("done", "failed", "cancelled")


def _put(sent: Sent, put: Put) -> str:
    with sent.open() as file:
        return put(file)


def _sha256(sent: Sent) -> str:
    with sent.open() as file:
        return sha256_of(file)


def _with_key(session: Session, key: str) -> str | None:
    if not key:
        return None
    return session.scalar(select(t.Job.id).where(t.Job.key == key))
