"""The values that cross the border between the station and who shows it: an API, a page, a test.

All are frozen, hold no pixels but those a person uploads, and name things the way people do: a
line by its name, a version by its number. Times are UTC; order comes from `number`, never from
time, because clocks are set back.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Literal

from blemish.errors import InputError
from blemish.types import DecidedBy, Reason, Verdict

VersionState = Literal["fitting", "ready", "failed"]
JobState = Literal["queued", "running", "done", "cancelled", "failed"]
ItemState = Literal["queued", "running", "done", "failed", "cancelled"]
Says = Literal["right", "good", "defective"]
"""What a person says of a verdict: it is right; the part is good; the part is defective."""
Export = Literal["jsonl", "csv", "coco", "yolo", "label-studio", "html"]

ENDED: tuple[JobState, ...] = ("done", "cancelled", "failed")
"""The states in which a job changes no more."""


@dataclass(frozen=True)
class Upload:
    """A file as it came.

    Attributes:
        name: what the sender calls it; never used as a path.
        data: its bytes.
    """

    name: str
    data: bytes = field(repr=False)

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Its bytes, to be read."""
        return io.BytesIO(self.data)


@dataclass(frozen=True)
class Incoming:
    """As `Upload`, of a file that lies on the disk still and need not fit into the memory.

    Attributes:
        name: what the sender calls it; never used as a path.
        open: gives its bytes from the first one on; at each call anew.
    """

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]] = field(repr=False)

    @property
    def data(self) -> bytes:
        """All of its bytes."""
        with self.open() as file:
            return file.read()


Sent = Upload | Incoming
"""A file that somebody sends, in the memory or not."""


@dataclass(frozen=True)
class Fault:
    """Why something failed: the error's name in `blemish.errors`, and words for a person."""

    error: str
    message: str


@dataclass(frozen=True)
class Reference:
    """A normal part that a version knows.

    Attributes:
        name: of the file as it came.
        sha256: of its content; `Station.image` shows it.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class NewLine:
    """What makes a line.

    Attributes:
        name: unique, 1 to 100 characters; what pages, exports and OpenAI clients call it.
        class_name: what the part is called in prompts and reports.
        standards: what a normal part looks like, in words; may be empty.
        detector: a registered name.
        options: the detector's own options and parts by name.
        language_model: who answers questions, such as "openai:gpt-5"; "" for none.
        references: pictures of normal parts; may be empty for a detector that needs none.

    Raises:
        InputError: the name is empty, too long, or cannot be written into an address.
    """

    name: str
    class_name: str = "object"
    standards: str = ""
    detector: str = "patch-memory"
    options: Mapping[str, Any] = field(default_factory=dict)
    language_model: str = ""
    references: tuple[Sent, ...] = ()

    def __post_init__(self) -> None:
        plain = self.name == self.name.strip() and self.name.isprintable()
        # Browsers take "." and ".." in an address for folders.
        sound = plain and self.name not in (".", "..") and not set("/\\?#%") & set(self.name)
        if not (0 < len(self.name) <= 100 and sound):
            raise InputError(
                f"The line is called {self.name[:120]!r}; expected 1 to 100 printable characters "
                "without / \\ ? # % and without blanks at the ends, such as 'bottle caps 3', and "
                "neither . nor .. alone."
            )
        if not self.class_name.strip() or len(self.class_name) > 200:
            raise InputError("The part has no name, or a longer one than 200 characters.")


@dataclass(frozen=True)
class Version:
    """A line's detector as it was fitted once. It never changes; feedback makes a new one.

    Attributes:
        line: the line's name.
        number: from 1, within the line.
        state: "fitting", "ready" or "failed".
        detector, options, class_name, standards, language_model: as in `NewLine`.
        references: the normal parts that it was fitted to.
        cases: inspections of defects that it must find (`Station.apply`), by id.
        calibration: `Calibration.to_json()` of the operating point, or None.
        fingerprint: of the fitted detector; "" until it is ready.
        why: why it was made, in words.
        fault: why it failed, or None.
        created: when.
        current: whether new inspections go through it.
    """

    line: str
    number: int
    state: VersionState
    detector: str
    class_name: str
    created: datetime
    options: Mapping[str, Any] = field(default_factory=dict)
    standards: str = ""
    language_model: str = ""
    references: tuple[Reference, ...] = ()
    cases: tuple[str, ...] = ()
    calibration: Mapping[str, Any] | None = None
    fingerprint: str = ""
    why: str = ""
    fault: Fault | None = None
    current: bool = False


@dataclass(frozen=True)
class Line:
    """A part type that is inspected.

    Attributes:
        id: a UUID as 32 hexadecimal digits.
        name: unique.
        class_name: of the current version.
        created: when.
        current: number of the version that new inspections go through; 0 until one is ready.
        state: of the newest version.
        versions: how many there are.
        inspections: how many there are.
        last: when a part of it was inspected last; None where none was.
    """

    id: str
    name: str
    class_name: str
    created: datetime
    current: int = 0
    state: VersionState = "fitting"
    versions: int = 0
    inspections: int = 0
    last: datetime | None = None


@dataclass(frozen=True)
class ItemRow:
    """One file of a job.

    Attributes:
        position: from 0, in the order of the upload.
        name: as it came.
        state: of this file.
        inspection: the id of its inspection, "" until it is done.
        verdict: of that inspection, "" until it is done.
        fault: why it failed, or None.
    """

    position: int
    name: str
    state: ItemState
    inspection: str = ""
    verdict: Verdict | Literal[""] = ""
    fault: Fault | None = None


@dataclass(frozen=True)
class Job:
    """Files that were accepted together. Each becomes one inspection or one failure, once.

    Attributes:
        id: a UUID as 32 hexadecimal digits.
        line, version: what inspects them; the version is fixed when the job is accepted.
        state: "done" also where single files failed; "failed" where none could be inspected.
        total: how many files.
        done: how many have an inspection.
        failed: how many could not be inspected.
        created, started, ended: when, or None.
        items: each file, in order; empty in lists of jobs (`Station.jobs`).
    """

    id: str
    line: str
    version: int
    state: JobState
    total: int
    created: datetime
    done: int = 0
    failed: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    items: tuple[ItemRow, ...] = ()


@dataclass(frozen=True)
class Progress:
    """One event of a job.

    Attributes:
        job: its id.
        state: of the job.
        total, done, failed: as in `Job`.
        items: the files that ended since the event before.
    """

    job: str
    state: JobState
    total: int
    done: int = 0
    failed: int = 0
    items: tuple[ItemRow, ...] = ()


@dataclass(frozen=True)
class Feedback:
    """What a person said of an inspection.

    Attributes:
        id: a UUID as 32 hexadecimal digits.
        inspection: the id of what it is about.
        says: "right", "good" (it is a good part) or "defective" (it has a defect).
        created: when.
        mark: where the defect is, as [x0, y0, x1, y1] in pixels; None where nobody showed it.
        comment: in words.
        applied: number of the version that knows it; 0 until then.
    """

    id: str
    inspection: str
    says: Says
    created: datetime
    mark: tuple[int, int, int, int] | None = None
    comment: str = ""
    applied: int = 0


@dataclass(frozen=True)
class MessageRow:
    """One turn of the dialogue about an inspection.

    Attributes:
        number: from 1, within the inspection.
        role: "user" or "assistant".
        text: what was said.
        model: who answered; "" for a person.
        created: when.
        fault: why the answer ends here, or never came; None where it is whole.
    """

    number: int
    role: Literal["user", "assistant"]
    text: str
    created: datetime
    model: str = ""
    fault: Fault | None = None


@dataclass(frozen=True)
class InspectionRow:
    """What was found on one part. It never changes, whatever happens to its line.

    Attributes:
        id: a UUID as 32 hexadecimal digits.
        number: goes up with each inspection of the station; what `Page.next` counts in.
        line, version: what inspected it.
        job: the id of its job.
        name: of the file as it came.
        sha256: of that file.
        verdict, score, raw_score, decided_by, reason, explanation: as in `blemish.Inspection`.
        sizes: (height, width) in pixels of each view.
        regions: as in inspections.jsonl: label, box [x0, y0, x1, y1], score, raw, area, position,
            view, mask as COCO RLE.
        evidence: as in inspections.jsonl.
        usage: as in inspections.jsonl.
        maps: how many views have an anomaly map.
        created: when.
        seconds: what it took.
        feedback: the newest first.
    """

    id: str
    number: int
    line: str
    version: int
    job: str
    name: str
    sha256: str
    verdict: Verdict
    score: float | None
    decided_by: DecidedBy
    created: datetime
    reason: Reason = ""
    raw_score: float | None = None
    explanation: str = ""
    sizes: tuple[tuple[int, int], ...] = ()
    regions: tuple[Mapping[str, Any], ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    maps: int = 0
    seconds: float = 0.0
    feedback: tuple[Feedback, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Which inspections are wanted; what is left at its default does not matter.

    Attributes:
        line: a line's name.
        verdict: one of the three.
        version: a number.
        job: a job's id.
        since, until: created at or after, and before, in UTC.
        feedback: what was said last, "any" for anything, "none" for nothing.
        name: a part of the file's name, in any case.
    """

    line: str = ""
    verdict: Verdict | Literal[""] = ""
    version: int = 0
    job: str = ""
    since: datetime | None = None
    until: datetime | None = None
    feedback: Says | Literal["", "any", "none"] = ""
    name: str = ""


@dataclass(frozen=True)
class Page:
    """Some of the inspections that a filter names, the newest first.

    Attributes:
        items: of this page.
        next: what `after` takes for the next page; None on the last.
        total: how many the filter names in all.
    """

    items: tuple[InspectionRow, ...] = ()
    next: int | None = None
    total: int = 0


@dataclass(frozen=True)
class Exported:
    """A file for another program or for a person.

    Attributes:
        media_type: such as "text/csv; charset=utf-8".
    """

    name: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Weights:
    """One row of the weights that this version knows: its name, what it is, is it here."""

    name: str
    about: str
    licence: str
    present: bool


@dataclass(frozen=True)
class Status:
    """How the station stands.

    Attributes:
        database: its kind, "sqlite" or "postgresql"; never its address, which may hold a secret.
        stored, free: bytes that `folder` takes, and that are left on its disk.
        queued: files that wait or are being inspected.
        workers: threads that inspect, and are alive.
    """

    version: str
    database: str
    folder: str
    stored: int
    free: int
    lines: int
    inspections: int
    queued: int
    workers: int
    weights: tuple[Weights, ...] = ()
