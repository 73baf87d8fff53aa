"""Videos, point clouds and time series through a detector into a run folder.

One recording after the other, each view by view: never are all views of a long one held. A
recording is done or not: where one of its views cannot be read or judged, it is a failure.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from blemish.errors import OptionError
from blemish.modalities.find import open_recording
from blemish.modalities.recording import Carried, Judged, Recording
from blemish.runs import folder, pictures, reading, rows
from blemish.runs.context import Context
from blemish.runs.folder import Row
from blemish.runs.judging import HOPELESS, judged
from blemish.runs.sources import Item
from blemish.types import Detector, Failure, Inspection, Sample

_Batch = tuple[list[Sample], Future[list[Inspection | Failure]]]


def written(
    detector: Detector, items: Sequence[Item], pen: pictures.Drawing
) -> Iterator[list[Row]]:
    """The row of each recording, once it is on the disk.

    A detector that has `at_once` gets so many views at the same time, as `blemish.runs.run` says.
    """
    for item in items:
        row = _row(detector, item, pen)
        folder.append_rows(pen.out, [row])
        yield [row]


def _row(detector: Detector, item: Item, pen: pictures.Drawing) -> Row:
    sha256 = ""
    try:
        sha256 = item.sha256()
        looked = _Looked(item, pen.context)
        carried = looked.through(detector)
        return pen.recording(item, sha256, looked.recording, carried)
    except _Unusable as unusable:
        failure = Failure(item.id, unusable.failure.error, unusable.failure.message)
    except HOPELESS:
        raise
    except Exception as error:
        failure = reading.failure(item.id, error)
    return rows.failure_row(item, sha256, failure)


class _Unusable(Exception):
    """A view that could not be judged, or a file that does not go with the options."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Looked:
    """A recording and what looking at it took."""

    def __init__(self, item: Item, context: Context) -> None:
        assert item.modality
        self._item, self._context = item, context
        self._seconds = 0.0
        begun = time.perf_counter()
        try:
            self.recording: Recording = open_recording(
                item.path,
                item.modality,
                context.options,
                id=item.id,
                class_name=context.class_name,
            )
        except OptionError as error:  # a column that this file has not; another one may have it
            raise _Unusable(reading.failure(item.id, error)) from error
        self._seconds = time.perf_counter() - begun

    def through(self, detector: Detector) -> Carried:
        """What a detector finds in it."""
        at_once: int | None = getattr(detector, "at_once", None)
        with (
            ThreadPoolExecutor(at_once or 1, "judge") as judges,
            contextlib.closing(self._judged(detector, judges, at_once)) as pairs,
        ):
            carried = self.recording.back(pairs)
        found = carried.inspection
        usage = replace(found.usage, seconds={"read": self._seconds, **found.usage.seconds})
        return replace(carried, inspection=replace(found, usage=usage))

    def _judged(
        self, detector: Detector, judges: ThreadPoolExecutor, at_once: int | None
    ) -> Generator[Judged]:
        """Every view with what was found on it, in order, some judged ahead."""
        under_way: deque[_Batch] = deque()
        pixels = 0
        try:
            for batch in self._batches(reading.BATCH if at_once is None else 1):
                under_way.append((batch, judges.submit(judged, detector, batch)))
                pixels += _pixels(batch)
                while len(under_way) > (at_once or 1) or pixels > 2 * reading.PIXELS:
                    pixels -= _pixels(under_way[0][0])
                    yield from self._pairs(*under_way.popleft())
            while under_way:
                yield from self._pairs(*under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def _batches(self, most: int) -> Iterator[list[Sample]]:
        batch: list[Sample] = []
        views = self.recording.samples()
        while True:
            begun = time.perf_counter()
            sample = next(views, None)
            self._seconds += time.perf_counter() - begun
            if sample is not None:
                batch.append(self._context.completed(sample, self._item.id))
            full = len(batch) == most or _pixels(batch) >= reading.PIXELS
            if batch and (full or sample is None):
                yield batch
                batch = []
            if sample is None:
                return

    def _pairs(
        self, samples: list[Sample], future: Future[list[Inspection | Failure]]
    ) -> Iterator[Judged]:
        for sample, found in zip(samples, future.result(), strict=True):
            if isinstance(found, Failure):
                message = f"{self._item.id} at {sample.id}: {found.message}"
                raise _Unusable(Failure(self._item.id, found.error, message))
            yield sample, found


def _pixels(samples: Sequence[Sample]) -> int:
    return sum(image.size // 3 for sample in samples for image in sample.images)
