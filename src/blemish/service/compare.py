"""Two versions on the same kept history: which verdicts differ, and how often each is wrong."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.calibration import Calibration
from blemish.errors import BlemishError, ConflictError, NotFoundError, ServiceError
from blemish.runs import judging
from blemish.service.history import History
from blemish.service.quality import Change, Comparison, rates, truth
from blemish.service.shop import Shop
from blemish.service.types import Filter, InspectionRow, Version
from blemish.types import Detector, Inspection, Sample, Verdict

_KEPT = 20_000
"""Judgements that are remembered: the same comparison is often looked at again."""
LONGEST = 60.0
"""Seconds in which a version judges the history for a comparison; what is left is left out."""
_PATIENCE = 20.0
"""Seconds that a comparison waits for another one."""
Judged = tuple[Verdict, float | None]


@dataclass(frozen=True)
class Judgements:
    """What a detector says of the history.

    Attributes:
        of: verdict and score by inspection.
        alarms: as `Calibration.alarms`; None for a detector without a calibration.
    """

    of: Mapping[str, Judged]
    alarms: float | None = None


class Comparing:
    """Judges the history again; see the module.

    Args:
        shop: store and detectors.
        history: what was inspected.
    """

    def __init__(self, shop: Shop, history: History) -> None:
        self._shop = shop
        self._history = history
        self._known: OrderedDict[tuple[str, str, str, str], Judged] = OrderedDict()
        self._lock = threading.Lock()
        self._one = threading.Lock()

    def history(self, line: str, cases: Sequence[str]) -> tuple[list[InspectionRow], int]:
        """A line's labelled cases and its newest inspections; how many others there are."""
        page = self._history.find(Filter(line=line), limit=1)
        found: list[InspectionRow] = []
        for id in cases:  # the first ones, if the time does not suffice for all
            with contextlib.suppress(NotFoundError):  # it was deleted
                found.append(self._history.one(id))
        newest = self._history.every(Filter(line=line), self._shop.settings.history)
        found += [row for row in newest if row.id not in cases]
        return found, max(0, page.total - len(found))

    def judgements(
        self, detector: Detector, version: Version, found: Sequence[InspectionRow]
    ) -> Judgements:
        """What a detector says of each inspected part; those that are left out cannot be judged.

        Nothing is inspected again where the same detector has judged the same picture already, and
        nothing more begun after a while: what is left is not judged, and next time it may be.
        """
        until = time.monotonic() + LONGEST
        words = f"{version.class_name}\n{version.standards}"
        told = (detector.fingerprint, str(detector.calibration), words)
        keys = {row.id: (*told, row.sha256) for row in found}
        with self._lock:
            made = {
                row.id: self._known[keys[row.id]] for row in found if keys[row.id] in self._known
            }
        left = [row for row in found if row.id not in made]
        size = self._shop.settings.batch
        for start in range(0, len(left), size):
            if time.monotonic() > until:
                break
            batch = left[start : start + size]
            for id, judged in self._batch(detector, version, batch).items():
                made[id] = judged
                self._remember(keys[id], judged)
        return Judgements(made, _alarms(detector.calibration))

    def compare(self, line: str, before: Version, after: Version) -> Comparison:
        """Two versions that are ready."""
        with self.turn():
            found, older = self.history(line, after.cases)
            first = self.of(before, found)
            return comparison((before, first), (after, self.of(after, found)), found, older)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold while versions are compared: one pair at a time, since it takes all there is.

        Raises:
            ServiceError: others are compared, and that takes long.
        """
        if not self._one.acquire(timeout=_PATIENCE):
            raise ServiceError("Other versions are being compared. Ask again in a minute.")
        try:
            yield
        finally:
            self._one.release()

    def of(self, version: Version, found: Sequence[InspectionRow]) -> Judgements:
        """What a version says: of what it inspected itself, that; of the rest, what it says now."""
        own = {r.id: (r.verdict, r.score) for r in found if r.version == version.number}
        others = [row for row in found if row.id not in own]
        if not others:
            point = version.calibration
            return Judgements(own, _alarms(Calibration.from_json(point) if point else None))
        row = self._shop.row_of(version)
        rest = self.judgements(self._shop.detector(row, version), version, others)
        return Judgements({**own, **rest.of}, rest.alarms)

    def _batch(
        self, detector: Detector, version: Version, batch: Sequence[InspectionRow]
    ) -> dict[str, Judged]:
        samples: list[Sample] = []
        for row in batch:
            try:
                samples.append(self._shop.sample(row, version))
            except BlemishError:
                continue  # its file is damaged or gone: it is left out, and counted
        with self._shop.detectors.turn(detector):
            results = judging.judged(detector, samples)
        return {r.id: (r.verdict, r.score) for r in results if isinstance(r, Inspection)}

    def _remember(self, key: tuple[str, str, str, str], judged: Judged) -> None:
        with self._lock:
            self._known[key] = judged
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


def _alarms(point: Any) -> float | None:
    return point.alarms if isinstance(point, Calibration) else None


def comparison(
    before: tuple[Version, Judgements],
    after: tuple[Version, Judgements],
    found: Sequence[InspectionRow],
    older: int,
) -> Comparison:
    """What differs between two versions' judgements of the same inspections."""
    (old, said), (new, says) = before, after
    first, second = said.of, says.of
    both = [row for row in found if row.id in first and row.id in second]
    changes = tuple(
        Change(
            row.id,
            row.name,
            first[row.id][0],
            second[row.id][0],
            first[row.id][1],
            second[row.id][1],
            truth(row),
        )
        for row in both
        if first[row.id][0] != second[row.id][0]
    )
    return Comparison(
        line=old.line,
        before=old.number,
        after=new.number,
        looked_at=len(both),
        left_out=older + len(found) - len(both),
        changes=changes,
        rates_before=rates(Counter((first[row.id][0], truth(row)) for row in both)),
        rates_after=rates(Counter((second[row.id][0], truth(row)) for row in both)),
        cases=tuple(row.id for row in found if row.id in new.cases and _missed(second.get(row.id))),
        alarms_before=said.alarms,
        alarms_after=says.alarms,
    )


def _missed(judged: Judged | None) -> bool:
    return judged is None or judged[0] == "normal"


def refuse_unready(version: Version) -> None:
    """Raises ConflictError unless a version is ready."""
    if version.state != "ready":
        raise ConflictError(
            f"Version {version.number} of {version.line!r} is not ready: it is {version.state}."
        )
