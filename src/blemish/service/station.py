"""The inspection station: everything that a page or a program may do, without HTTP.

Values go in and out as the dataclasses of `types` and `quality` beside it. Errors are those of
`blemish.errors`: NotFoundError for what does not exist, ConflictError for what does not go now,
InputError and OptionError for what cannot be used, StoreBusyError and OutputError for the store.
All methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from blemish.errors import StoreBusyError
from blemish.runs import folder
from blemish.service import demo, status
from blemish.service.compare import Comparing, refuse_unready
from blemish.service.erasing import Erasing
from blemish.service.feedback import Listening
from blemish.service.fitter import Fitter
from blemish.service.history import History
from blemish.service.jobs import Jobs
from blemish.service.lines import Lines
from blemish.service.quality import Comparison, Health
from blemish.service.settings import ServiceSettings
from blemish.service.shop import Shop
from blemish.service.talk import Talk
from blemish.service.types import (
    Export,
    Exported,
    Feedback,
    Filter,
    InspectionRow,
    Job,
    Line,
    MessageRow,
    NewLine,
    Page,
    Progress,
    Says,
    Sent,
    Status,
    Upload,
    Version,
)
from blemish.service.work import Workers


class Station:
    """See the module. `start` begins to work; a context manager starts and closes.

    Args:
        settings: where things are kept, and how much is taken on.

    Raises:
        OutputError: the folder cannot be written.
        StoreBusyError: the database is locked or away.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        with contextlib.ExitStack() as stack:
            # Two stations on one folder would do everything twice.
            stack.enter_context(folder.opened(settings.folder))
            self._shop = Shop.opened(settings)
            self._held = stack.pop_all()
        self.settings = settings
        self._lines = Lines(self._shop)
        self._fitter = Fitter(self._shop)
        self._workers = Workers(self._shop)
        self._jobs = Jobs(self._shop, self._workers.running)
        self._history = History(self._shop)
        self._comparing = Comparing(self._shop, self._history)
        self._listening = Listening(self._shop, self._lines, self._comparing)
        self._talk = Talk(self._shop)
        self._erasing = Erasing(self._shop)
        self._started = False

    def start(self) -> None:
        """Take up what was accepted before, and work until `close`. Twice is once."""
        if not self._started:
            self._started = True
            self._shop.files.tidy()
            self._fitter.start()
            self._workers.start()
            self._erasing.start()

    def close(self) -> None:
        """Finish the batches that are under way, and stop; what waits is taken up at a start."""
        self._workers.close()
        self._erasing.close()
        self._fitter.close()
        self._shop.database.close()
        self._held.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Lines

    def lines(self) -> tuple[Line, ...]:
        """All lines, by name."""
        return self._lines.all()

    def line(self, name: str) -> Line:
        """One line. Raises NotFoundError."""
        return self._lines.one(name)

    def create_line(self, new: NewLine) -> Line:
        """Make a line, and begin to fit its first version.

        Raises:
            ConflictError: the name is taken.
            OptionError: the detector, an option or the language model does not exist.
            ReferencesError: the detector needs references, and none came.
            ImageError: a reference is no picture that can be read.
        """
        return self._lines.create(new)

    def demo(self) -> Line:
        """A line of made-up parts, with a few inspections; the one there is, at a second call."""
        return demo.make(self._shop, self._lines, self._jobs)

    def fit(
        self,
        line: str,
        references: Sequence[Sent] = (),
        why: str = "",
        *,
        keep: bool = True,
        changes: Mapping[str, Any] | None = None,
        version: int = 0,
    ) -> Version:
        """Begin to fit a further version, which becomes the current one when it is ready.

        Args:
            line: its name.
            references: further normal parts.
            why: why, in words.
            keep: keep those of the version that it starts from too.
            changes: what else is to differ: class_name, standards, detector, options,
                language_model.
            version: which one it starts from; 0 for the current one, or the newest where none is
                ready yet.

        Raises:
            ConflictError: a version is being fitted already, or the line was changed meanwhile.
            NotFoundError, OptionError, ReferencesError, ImageError: as in `create_line`.
        """
        return self._lines.changed(line, references, why, keep, changes or {}, version)

    def versions(self, line: str) -> tuple[Version, ...]:
        """All versions of a line, the newest first. Raises NotFoundError."""
        return self._lines.versions(line)

    def version(self, line: str, number: int) -> Version:
        """One version. Raises NotFoundError."""
        return self._lines.version(line, number)

    def switch(self, line: str, number: int) -> Line:
        """Send new inspections through another version. Raises ConflictError if it is not ready."""
        return self._lines.switch(line, number)

    def delete_line(self, name: str) -> None:
        """Delete a line for good: versions, references, jobs, inspections and what was said.

        Raises:
            NotFoundError: there is no such line.
        """
        self._erasing.line(name)

    def compare(self, line: str, before: int, after: int) -> Comparison:
        """Two versions on the kept history, the newest `settings.history` inspections."""
        versions = [self._lines.version(line, number) for number in (before, after)]
        for version in versions:
            refuse_unready(version)
        return self._comparing.compare(line, *versions)

    # Inspections

    def submit(self, line: str, files: Sequence[Sent], key: str = "") -> Job:
        """Accept files; when this returns they are on the disk and will be inspected, once.

        Args:
            line: its name.
            files: at least one.
            key: an idempotency key: the same request again gives the same job.

        Raises:
            NotFoundError: there is no such line.
            ConflictError: it has no version that is ready; or the key came with other files before.
            InputError: no file, or more than `settings.max_files`.
            ServiceError: too many wait already.
        """
        return self._jobs.submit(line, files, key)

    def wait(self, job: str, seconds: float) -> Job:
        """The job when it has ended, or as it is after so many seconds."""
        return self._jobs.wait(job, seconds)

    def jobs(self, line: str = "", limit: int = 50) -> tuple[Job, ...]:
        """The newest jobs, without their items."""
        return self._jobs.all(line, limit)

    def job(self, id: str) -> Job:
        """One job with its items. Raises NotFoundError."""
        return self._jobs.job(id)

    def cancel(self, id: str) -> Job:
        """Inspect no more of its files; what is inspected stays. Nothing where it has ended."""
        return self._jobs.cancel(id)

    def events(self, id: str) -> Iterator[Progress]:
        """How a job goes on: at once, at each change and at least every 15 s, until it has ended.

        Raises NotFoundError at once.
        """
        return self._jobs.events(id)

    def delete_job(self, id: str) -> None:
        """Delete a job that has ended for good, with its inspections and all their files, also of
        those that failed.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended.
        """
        self._erasing.job(id)

    def inspection(self, id: str) -> InspectionRow:
        """One inspection. Raises NotFoundError."""
        return self._history.one(id)

    def find(self, wanted: Filter, after: int | None = None, limit: int = 50) -> Page:
        """Inspections, the newest first; `after` is `Page.next` of the page before."""
        return self._history.find(wanted, after, limit)

    def delete_inspection(self, id: str) -> None:
        """Delete an inspection for good, with what was said of it and asked about it.

        Its file goes within a minute, unless another inspection is of the same one, or a version
        of the line knows it as a good part. A labelled case is one no more.

        Raises:
            NotFoundError: there is no such inspection.
        """
        self._erasing.inspection(id)

    # Pictures

    def original(self, id: str) -> Upload:
        """The inspected file, byte for byte."""
        return self._history.original(id)

    def picture(self, id: str, view: int = 0, side: int = 0) -> bytes:
        """The inspected part as JPEG, upright, without metadata.

        Args:
            id: of the inspection.
            view: from 0.
            side: longest side in pixels; 0 for the picture's own, up to the 65,500 of JPEG.
        """
        return self._history.picture(id, view, side)

    def image(self, sha256: str, side: int = 0) -> bytes:
        """A reference as JPEG, as `picture`. Raises NotFoundError where it is none."""
        return self._history.image(sha256, side)

    def nearest(self, id: str, side: int = 0) -> bytes | None:
        """The reference that the part was most like, as JPEG; None where none is known."""
        return self._history.nearest(id, side)

    def maps(self, id: str, view: int = 0, *, coloured: bool = True) -> bytes:
        """The anomaly map as PNG of at most 512 pixels, to be stretched over the picture.

        Coloured: RGBA, transparent where normal. Else 16-bit grey, 65535 is a score of 1 and
        32768 the operating point. Raises NotFoundError where there is no map.
        """
        return self._history.maps(id, view, coloured)

    def contours(
        self, id: str, view: int = 0
    ) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
        """Outlines of the regions of a view: the region's label, and corners (x, y) in pixels."""
        return self._history.contours(id, view)

    def overlay(self, id: str, view: int = 0) -> bytes:
        """The part with map, outlines, numbers and verdict drawn in, as PNG."""
        return self._history.overlay(id, view)

    # Feedback

    def say(
        self,
        inspection: str,
        says: Says,
        mark: tuple[int, int, int, int] | None = None,
        comment: str = "",
    ) -> Feedback:
        """Note whether a verdict was right. The last word on an inspection counts, and of those on
        inspections of the same picture the last.
        """
        return self._listening.say(inspection, says, mark, comment)

    def waiting(self, line: str) -> tuple[Feedback, ...]:
        """Feedback that would teach the current version something, the oldest first."""
        return tuple(one.feedback for one in self._listening.waiting(line))

    def preview(self, line: str, ids: Sequence[str] = ()) -> Comparison:
        """What would change in the history if feedback were applied; nothing is kept.

        Args:
            line: its name.
            ids: of feedback; all that waits where empty.
        """
        return self._listening.preview(line, ids)

    def apply(self, line: str, ids: Sequence[str] = ()) -> Version:
        """Begin to fit a version like the current one that knows feedback: rejected finds join the
        references, missed defects its labelled cases, what was said by mistake leaves them, and
        the calibration is redone.

        Raises:
            ConflictError: nothing waits, a version is being fitted already, or the line was
                changed meanwhile.
        """
        return self._listening.apply(line, ids)

    def health(self, line: str) -> Health:
        """Overkill and misses, by what people said."""
        return self._listening.health(line)

    # Words

    def ask(self, inspection: str, question: str, llm: str = "") -> Iterator[str]:
        """An answer piece by piece; question and answer are kept as messages.

        Args:
            inspection: its id.
            question: in words.
            llm: another language model than the line's.

        Raises:
            NotFoundError: there is no such inspection. At once.
            InputError: the question is empty or too long. At once.
            OptionError: the line has nobody to talk with. At once.
            ChatError: no answer came, or none within `settings.talk_seconds` of the last piece.
        """
        return self._talk.ask(inspection, question, llm)

    def reply(
        self, inspection: str, said: Sequence[tuple[str, str]], question: str
    ) -> Iterator[str]:
        """As `ask`, of a dialogue that somebody else keeps: no message is read or kept here.

        Args:
            inspection: its id.
            said: questions and answers before, the oldest first.
            question: in words.
        """
        return self._talk.reply(inspection, said, question)

    def messages(self, inspection: str) -> tuple[MessageRow, ...]:
        """The dialogue about an inspection, the oldest first."""
        return self._talk.messages(inspection)

    # The rest

    def export(self, wanted: Filter, kind: Export) -> Exported:
        """Inspections in the format of another program."""
        return self._history.export(wanted, kind)

    def ready(self) -> None:
        """Nothing, where the station can work. Raises StoreBusyError or OutputError else."""
        self._shop.database.ping()
        alive = self._workers.alive >= self.settings.workers and self._fitter.alive
        if self._started and not alive:
            raise StoreBusyError("A worker has died. Start the station again.")

    def status(self) -> Status:
        """How the station stands."""
        return status.status(self._shop, self._workers.alive)
