"""The one loop: pictures and recordings through a detector into a run folder.

A thread reads ahead and another writes, so that the detector waits for neither. A row is written
once, after the files it names, as soon as its picture is judged. A detector that computes here gets
batches, one after the other. One that mostly waits for an endpoint says so by `at_once`: it gets so
many pictures at the same time, each by itself, so that none waits for another or fails with it.
Recordings come after the pictures, one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from blemish.errors import AccessError, BudgetError, ChatError, InputError, OutputError
from blemish.runs import folder, judging, pictures, reading, record, recordings, rows
from blemish.runs.context import Context
from blemish.runs.folder import Row
from blemish.runs.reading import Read
from blemish.runs.sources import Item
from blemish.types import Detector, Failure, Inspection, Sample

Progress = Callable[[int, int], None]
"""Called with pictures done and in all."""


@dataclass(frozen=True)
class RunSummary:
    """What a run gave.

    Attributes:
        out: the run's folder.
        rows: one for each picture that was asked for, in their order, failures included; without
            those that a run did not come to.
        kept: how many of them were there from an earlier start.
        seconds: this start's, from the first picture to the report.
        stopped: why the run ended before all were done, such as a spent budget; None where it did
            not.
    """

    out: Path
    rows: tuple[Row, ...]
    kept: int
    seconds: float
    stopped: ChatError | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many are normal, anomalous, unsure and failed."""
        return rows.counts(self.rows)

    @property
    def report(self) -> Path:
        """The page for a person."""
        return self.out / folder.REPORT


def inspect(
    detector: Detector,
    items: Sequence[Item],
    out: Path,
    *,
    context: Context | None = None,
    draw: bool = True,
    keep_maps: bool = False,
    labels: Mapping[str, str] | None = None,
    command: str = "",
    on_progress: Progress = lambda done, total: None,
) -> RunSummary:
    """Inspect pictures and recordings and write the results into a run folder.

    A folder that holds a run of the same detector goes on: what was inspected with the same content
    and context is not inspected again, failures are tried again. Its own operating point stays in
    force.

    Args:
        detector: fitted, where it needs to be. Beyond the protocol it may have `at_once`: how many
            pictures to hand over at the same time, each in a call of `predict` of its own; then
            rows are written in the order in which they are done. It may have `stop`, which is
            called where a person stops the run.
        items: what to inspect; see `blemish.runs.sources.find`.
        out: the run folder; made where there is none.
        context: what is known of them: what they are called, what normal looks like.
        draw: make overlays and the report, for a person to look at.
        keep_maps: write each raw anomaly map, as float16 TIFF.
        labels: "normal" or "anomalous" for the ids of pictures whose truth is known.
        command: what was typed, for run.json.
        on_progress: called after each batch.

    Raises:
        InputError: a picture lies in `out`.
        OutputError: `out` cannot be written, or holds the run of another detector.
        BlemishError: what no picture could be inspected without is missing, such as weights. A
            spent budget or an endpoint that turns everything down is raised where nothing was
            done; else what was done is kept and shown, and `RunSummary.stopped` says why.
    """
    out, context = Path(out), context or Context()
    _refuse_own(items, out)
    with folder.opened(out):
        detector, done = record.resume(detector, items, out, keep_maps, context)
        begun = time.perf_counter()
        about = record.begin(out, detector, context.class_name, command)
        todo = [item for item in items if item.id not in done]
        kept = ready = len(items) - len(todo)
        pen = pictures.Drawing(out, detector.calibration, draw, keep_maps, labels or {}, context)
        on_progress(kept, len(items))
        at_once: int | None = getattr(detector, "at_once", None)
        most = reading.BATCH if at_once is None else 1
        plain = [item for item in todo if item.modality is None]
        moving = [item for item in todo if item.modality is not None]
        batches = reading.batches(plain, context, most)
        stopped: ChatError | None = None
        try:
            for written in chain(
                _written(detector, batches, pen, at_once or 1),
                recordings.written(detector, moving, pen),
            ):
                done.update({row["id"]: row for row in written})
                ready += len(written)
                on_progress(ready, len(items))
        except (AccessError, BudgetError) as error:
            # What was under way has been written as well.
            done.update({row["id"]: row for row in folder.read_rows(out)[0]})
            if not done:
                raise
            stopped = error
        last = {"pictures": len(todo), "seconds": round(time.perf_counter() - begun, 3)}
        record.finish(out, {**about, "last_start": last}, list(done.values()), report=draw)
        seconds = time.perf_counter() - begun
        found = tuple(done[item.id] for item in items if item.id in done)
        return RunSummary(out, found, kept, seconds, stopped)


def _refuse_own(items: Sequence[Item], out: Path) -> None:
    inside = next((i for i in items if out.resolve() in i.path.resolve().parents), None)
    if inside:
        raise InputError(
            f"{inside.path} lies in the output folder {out}. Choose an output folder that holds "
            "no pictures to inspect."
        )


def _written(
    detector: Detector, batches: Iterator[list[Read]], pen: pictures.Drawing, at_once: int
) -> Iterator[list[Row]]:
    """The rows of each batch, once they are on the disk.

    When the run is stopped, what is under way is still judged and written: it may be paid for.
    """
    with ThreadPoolExecutor(1, "write") as writer, ThreadPoolExecutor(at_once, "judge") as judges:

        def judge(batch: list[Read]) -> Future[list[Row]]:
            samples = [read.sample for read in batch if isinstance(read.sample, Sample)]
            judged = {result.id: result for result in judging.judged(detector, samples)}
            return writer.submit(_write, batch, judged, pen)

        under_way: set[Future[Future[list[Row]]]] = set()
        try:
            for batch in batches:
                under_way.add(judges.submit(judge, batch))
                if len(under_way) > at_once:  # one lies ready for whoever is free first
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for judged in done:
                        yield judged.result().result()
            for judged in as_completed(under_way):
                yield judged.result().result()
        except (KeyboardInterrupt, GeneratorExit):
            # Only a person ends a model for good: a budget may be raised, and the model go on.
            getattr(detector, "stop", lambda: None)()
            raise
        finally:
            for waiting in under_way:
                waiting.cancel()


def _write(
    batch: Sequence[Read], judged: Mapping[str, Inspection | Failure], pen: pictures.Drawing
) -> list[Row]:
    written = [_row(read, judged.get(read.item.id), pen) for read in batch]
    folder.append_rows(pen.out, written)
    return written


def _row(read: Read, result: Inspection | Failure | None, pen: pictures.Drawing) -> Row:
    """Write one picture's files, and return its row."""
    if isinstance(read.sample, Failure):
        result = read.sample
    elif isinstance(result, Inspection):
        seconds = {"read": read.seconds, **result.usage.seconds}
        result = replace(result, usage=replace(result.usage, seconds=seconds))
        try:
            return pen.inspection(read.item, read.sha256, read.sample, result)
        except OutputError:
            raise
        except Exception as error:
            result = reading.failure(read.item.id, error)
    assert isinstance(result, Failure)
    return rows.failure_row(read.item, read.sha256, result)
