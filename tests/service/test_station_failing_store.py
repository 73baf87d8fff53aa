"""People at work on a station whose store fails at random, and what they were told afterwards.

`BLEMISH_TEST_WALKS=100` asks for more than one walk, as `benchmarks/station_soak.py` does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, Any, get_args

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from blemish.errors import BlemishError, ConflictError, NotFoundError, OutputError, StoreBusyError
from blemish.files import install
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station
from blemish.service.store import files
from blemish.service.store import tables as t
from blemish.service.store.database import Database
from blemish.service.store.refusals import BUSY
from blemish.service.types import ENDED, Filter, Says

WALKS = int(os.environ.get("BLEMISH_TEST_WALKS", "1"))
PEOPLE, STEPS, STARTS = 4, 8, 3
SHARE = 0.15
"""Of all transactions and written files; so much that what one leaves behind meets the next."""
AGAIN = (StoreBusyError, OutputError)


class Failing:
    """Transactions and files that are written; some of them fail while `share` is not 0."""

    def __init__(self, seed: int, patch: pytest.MonkeyPatch) -> None:
        self._draw = random.Random(seed)
        self.share = 0.0
        self.failed = 0
        for name in ("session", "reading"):
            patch.setattr(Database, name, self._some_fail(getattr(Database, name)))
        patch.setattr(files, "install", self._some_full(install))

    def _when(self, moments: int) -> int:
        """The moment at which something fails, or `moments`."""
        when = self._draw.randrange(moments) if self._draw.random() < self.share else moments
        self.failed += when < moments
        return when

    def _some_full(self, plain: Callable[[Path, IO[bytes]], None]) -> Any:
        def some_full(path: Path, source: IO[bytes]) -> None:
            when = self._when(2)
            if when == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            plain(path, source)
            if when == 1:
                raise OSError(errno.EIO, "Input/output error")

        return some_full

    def _some_fail(self, plain: Callable[[Database], Any]) -> Callable[[Database], Any]:
        @contextlib.contextmanager
        def some_fail(database: Database) -> Iterator[Session]:
            # Before anything was done; at the end, so that it is undone; after it was kept.
            when = self._when(3)
            if when == 0:
                raise StoreBusyError(BUSY)
            with plain(database) as session:
                yield session
                if when == 1:
                    raise self._draw.choice(AGAIN)(BUSY)
            if when == 2:
                raise self._draw.choice(AGAIN)(BUSY)

        return some_fail


@dataclass
class Told:
    """What people know: the names that they sent in each job, and what they did with the job."""

    sent: dict[str, list[str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def insisting(act: Callable[[], Any], *expected: type[BlemishError]) -> Any:
    """What `act` gives in the end, for one who tries again; an expected refusal is one, too."""
    for _ in range(1000):
        try:
            return act()
        except AGAIN:
            time.sleep(0.002)
        except expected as error:
            return error
    raise AssertionError("refused a thousand times")


class Person:
    """Sends parts, and does something else in between.

    Args:
        keys: of the uploads; no two people have the same.
    """

    def __init__(
        self, station: Station, shade: ModuleType, told: Told, keys: str, seed: int
    ) -> None:
        self._station, self._shade, self._told, self._keys = station, shade, told, keys
        self._draw = random.Random(seed)
        self._jobs: list[str] = []

    def work(self) -> None:
        acts = (self._say, self._cancel, self._delete, self._learn, self._fit, self._nothing)
        weights = (6, 2, 2, 2, 1, 7)
        for step in range(STEPS):
            self._send(f"{self._keys}-{step}")
            self._draw.choices(acts, weights)[0]()

    def _send(self, key: str) -> None:
        spots = [self._draw.choice((0, 100, 225, None)) for _ in range(self._draw.randint(1, 5))]
        parts = [
            self._shade.picture(spot, f"{key}-{n}.png", self._draw.randrange(40))
            for n, spot in enumerate(spots)
        ]
        job = insisting(lambda: self._station.submit("caps", parts, key)).id
        self._told.sent[job] = [part.name for part in parts]
        self._jobs.append(job)

    def _job(self) -> str:
        return self._draw.choice(self._jobs)

    def _say(self) -> None:
        job, says = self._job(), self._draw.choice(get_args(Says))
        insisting(lambda: self._station.wait(job, 1), NotFoundError)
        found = insisting(lambda: self._station.find(Filter(job=job)), NotFoundError)
        if rows := getattr(found, "items", ()):
            insisting(lambda: self._station.say(rows[0].id, says), NotFoundError)

    def _cancel(self) -> None:
        job = self._job()
        self._told.cancelled.add(job)
        insisting(lambda: self._station.cancel(job), NotFoundError)

    def _delete(self) -> None:
        job = self._job()
        insisting(lambda: self._station.wait(job, 5), NotFoundError)
        refused = insisting(lambda: self._station.delete_job(job), NotFoundError, ConflictError)
        if not isinstance(refused, ConflictError):
            self._told.deleted.add(job)

    def _learn(self) -> None:
        insisting(lambda: self._station.apply("caps"), ConflictError)

    def _fit(self) -> None:
        good = self._shade.picture(self._draw.randrange(200, 250), "good.png")
        insisting(lambda: self._station.fit("caps", [good]), ConflictError)

    def _nothing(self) -> None:
        pass


def settled(station: Station, told: Told) -> None:
    """Wait until nothing is left to do."""
    end = time.monotonic() + 120
    while True:
        left = [id for id in told.sent.keys() - told.deleted if station.job(id).state not in ENDED]
        fitting = [v.number for v in station.versions("caps") if v.state == "fitting"]
        if not left and not fitting:
            return
        assert time.monotonic() < end, f"jobs {left} and versions {fitting} are left behind"
        time.sleep(0.05)


def check(station: Station, told: Told) -> None:
    """Everything that was accepted is there, whole and once, and what was deleted is not."""
    for id, names in told.sent.items():
        if id in told.deleted:
            with pytest.raises(NotFoundError):
                station.job(id)
            continue
        job = station.job(id)
        found = Counter(row.name for row in station.find(Filter(job=id), limit=100).items)
        assert found.total() == job.done
        if id in told.cancelled:
            assert found <= Counter(names)
        else:
            assert (job.state, found) == ("done", Counter(names))
    numbers = [version.number for version in station.versions("caps")]
    assert numbers == list(range(len(numbers), 0, -1))


def named(station: Station) -> set[str]:
    """The files that rows name."""
    with station._shop.database.reading() as session:
        found = set(session.scalars(select(t.Item.sha256)))
        for row in session.execute(select(t.Inspection.maps, t.Inspection.overlay)):
            found |= {*row.maps, row.overlay} - {""}
        for references in session.scalars(select(t.Version.references)):
            found |= {reference["sha256"] for reference in references}
    return found


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_store_that_fails_at_random_loses_nothing(
    seed: int,
    settings: ServiceSettings,
    shade: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People try again what was refused; nobody mends anything, and the last start goes well."""
    settings = settings.model_copy(update={"batch": 3})
    with Station(settings) as station:
        shade.make_caps(station)
    told, failing = Told(), Failing(seed, monkeypatch)
    for start in range(STARTS):
        failing.share = SHARE
        station = insisting(lambda: Station(settings))
        insisting(station.start)
        people = [
            Person(station, shade, told, f"{start}-{n}", hash((seed, start, n)))
            for n in range(PEOPLE)
        ]
        with ThreadPoolExecutor(PEOPLE) as pool:
            list(pool.map(Person.work, people))
        if start == STARTS - 1:  # all that was left behind comes to its end without a further start
            failing.share = 0.0
            settled(station, told)
            check(station, told)
            station.ready()
        station.close()
    with Station(settings) as station:
        check(station, told)
        end = time.monotonic() + 60
        while set(station._shop.files.names()) != named(station):
            assert time.monotonic() < end, "files without a row, or rows without their file"
            time.sleep(0.05)
    assert failing.failed > 20
    pictures = sum(map(len, told.sent.values()))
    print(f"walk: {len(told.sent)} jobs, {pictures} pictures, {failing.failed} failed")
