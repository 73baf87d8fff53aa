"""Threads that inspect: items of one version in batches, each stored whole and once.

One batch is read while another computes and a third is stored; only one computes at a time. What a
worker has in hand is noted in the memory alone: for the store an item is queued until, in one
transaction, its inspection is there and it is done. So a killed station leaves nothing to mend.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from blemish.errors import NotFoundError, OutputError, StoreBusyError
from blemish.images import decode_image
from blemish.runs import judging, reading, rows
from blemish.runs.sources import Item
from blemish.service import fitting, heat, storing
from blemish.service.shop import WORK, Shop
from blemish.service.steady import steady
from blemish.service.store import tables as t
from blemish.service.store.files import Put
from blemish.service.storing import Done, Read, Taken, failed
from blemish.service.types import Version
from blemish.types import Detector, Failure, Inspection, Sample

_log = logging.getLogger(__name__)
_LATER = (StoreBusyError, OutputError)
"""What another attempt may find gone: a lock, a full disk."""


class Workers:
    """See the module.

    Args:
        shop: store and detectors.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        self._taking = threading.Lock()
        self._hands: dict[str, str] = {}
        self._turns = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work, unless that is done."""
        for number in range(len(self._threads), self._shop.settings.workers):
            todo = (self._stop, self._shop.news, WORK, self._once, "A batch")
            thread = threading.Thread(target=steady, args=todo, name=f"work-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Store what is under way, and stop."""
        self._stop.set()
        self._shop.news.tell(WORK)
        for thread in self._threads:
            thread.join()

    @property
    def alive(self) -> int:
        """How many threads work."""
        return sum(thread.is_alive() for thread in self._threads)

    def running(self) -> frozenset[str]:
        """The ids of jobs of which something is in hand."""
        return frozenset(list(self._hands.values()))

    def _once(self) -> bool:
        """Take a batch and see it through; whether there was one."""
        version_id, taken = self._take()
        if not taken:
            return False
        jobs = {item.job for item in taken}
        try:
            self._shop.news.tell(*jobs)
            with self._shop.files.held() as put:
                self._store(version_id, self._judged(version_id, taken, put))
        except NotFoundError:
            _log.info("A line was deleted while its parts were inspected")
        finally:
            with self._taking:
                for item in taken:
                    self._hands.pop(item.id, None)
            self._shop.news.tell(*jobs)
        return True

    def _take(self) -> tuple[str, list[Taken]]:
        """The id of a version's row, and some of its items that nobody has in hand.

        By turns the first of the oldest job, so that each comes to its end, and the first files of
        all jobs, so that one picture need not wait for the thousand that came before it.
        """
        with self._taking:
            self._turns += 1
            version_id, taken = self._free()
            # Only now: a transaction that fails at its end has taken nothing.
            self._hands.update({item.id: item.job for item in taken})
            return version_id, taken

    def _free(self) -> tuple[str, list[Taken]]:
        order = (t.Item.seq,) if self._turns % 2 else (t.Item.position, t.Item.seq)
        free = (
            select(t.Item, t.Job.version_id, t.Version.detector)
            .join(t.Job, t.Job.id == t.Item.job_id)
            .join(t.Version, t.Version.id == t.Job.version_id)
            .where(t.Item.state == "queued", t.Item.id.not_in(list(self._hands)))
            .order_by(*order)
        )
        with self._shop.database.reading() as session:
            first = session.execute(free.limit(1)).first()
            if first is None:
                return "", []
            _, version_id, detector = first
            most = fitting.at_once(detector, self._shop.settings.batch)
            found = session.execute(free.where(t.Job.version_id == version_id).limit(most))
            return version_id, [Taken(i.id, i.job_id, i.name, i.sha256) for i, _, _ in found]

    def _judged(self, version_id: str, taken: Sequence[Taken], put: Put) -> list[Done]:
        row, version = self._shop.version(version_id)
        try:
            detector = self._shop.detector(row, version)
        except _LATER:
            raise
        except Exception as error:
            return [failed(item, error) for item in taken]
        groups = self._read(version, taken)
        return [done for group in groups for done in self._batch(detector, group, put)]

    def _read(self, version: Version, taken: Sequence[Taken]) -> Iterator[list[Read]]:
        """Pictures, or why they cannot be read, as many at a time as fit into the memory."""
        group: list[Read] = []
        pixels = 0
        for item in taken:
            try:
                image = decode_image(self._shop.files.read(item.sha256), item.name)
                pixels += image.size // 3
                sample = Sample(image, version.class_name, standards=version.standards, id=item.id)
                group.append((item, sample))
            except Exception as error:  # a bad file costs no other one anything
                group.append((item, error))
            if pixels >= reading.PIXELS:
                yield group
                group, pixels = [], 0
        if group:
            yield group

    def _batch(self, detector: Detector, group: Sequence[Read], put: Put) -> list[Done]:
        begun = time.perf_counter()
        samples = [sample for _, sample in group if isinstance(sample, Sample)]
        found: dict[str, Inspection | Failure] = {}
        try:
            with self._shop.detectors.turn(detector):
                found = {result.id: result for result in judging.judged(detector, samples)}
        except _LATER:
            raise
        except judging.HOPELESS as error:
            found = {sample.id: reading.failure(sample.id, error) for sample in samples}
        each = (time.perf_counter() - begun) / len(group)
        return [self._done(item, read, found.get(item.id), each, put) for item, read in group]

    def _done(
        self,
        item: Taken,
        read: Sample | Exception,
        result: Inspection | Failure | None,
        seconds: float,
        put: Put,
    ) -> Done:
        if isinstance(read, Exception):
            return failed(item, read)
        if not isinstance(result, Inspection):
            assert result is not None
            return Done(item, result)
        row = rows.inspection_row(
            Item(item.name, Path(item.name)), item.sha256, read.images, result, {}
        )
        maps = tuple(put(heat.packed(raw)) for raw in result.maps)
        self._shop.small.make(item.sha256, read.images[0])
        return Done(item, replace(result, maps=()), row, maps, seconds)

    def _store(self, version_id: str, done: Sequence[Done]) -> None:
        try:
            storing.store(self._shop.database, version_id, done)
        except (*_LATER, NotFoundError):
            raise
        except Exception:  # one result that cannot be kept takes no other with it
            _log.warning("A batch could not be kept as a whole", exc_info=True)
            self._one_by_one(version_id, done)

    def _one_by_one(self, version_id: str, done: Sequence[Done]) -> None:
        for one in done:
            try:
                storing.store(self._shop.database, version_id, [one])
            except (*_LATER, NotFoundError):
                raise
            except Exception as error:
                storing.store(self._shop.database, version_id, [failed(one.item, error)])
