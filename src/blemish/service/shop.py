"""What the station's parts share: its store, its detectors, and the news that something changed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from blemish.calibration import Calibration
from blemish.errors import OutputError, SavedError
from blemish.files import install
from blemish.images import decode_image
from blemish.service import heat, records
from blemish.service.fitting import Detectors
from blemish.service.settings import ServiceSettings
from blemish.service.small import SIDE, Small
from blemish.service.store import tables as t
from blemish.service.store.database import Database, sqlite_url
from blemish.service.store.files import Files
from blemish.service.types import InspectionRow, Reference, Version
from blemish.types import AnomalyMap, Detector, Example, Image, Sample

LOCAL, FITTED, MARK = "station.sqlite3", "detectors", "database.id"

WORK, LINES, SWEEP = "work", "lines", "sweep"
"""Topics of news beside the ids of jobs: something waits to be inspected; a version has changed;
files are to be swept up."""


class News:
    """Tells threads that wait when something has changed, each of what it waits for."""

    _PLACES = 1024  # topics that share one are woken in vain now and then

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._counts = [0] * self._PLACES

    def count(self, topic: str) -> int:
        """How much has changed; to be had before looking, so that nothing is missed."""
        return self._counts[hash(topic) % self._PLACES]

    def tell(self, *topics: str) -> None:
        """Wake whoever waits for one of these."""
        with self._condition:
            for topic in topics:
                self._counts[hash(topic) % self._PLACES] += 1
            self._condition.notify_all()

    def wait(self, topic: str, seen: int, seconds: float) -> None:
        """Return when there is more news of a topic than `seen`, or after so many seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self.count(topic) != seen, seconds)


@dataclass(frozen=True)
class Shop:
    """The shared parts; `opened` makes them.

    Attributes:
        settings: of the station.
        database: migrated.
        files: pictures and maps.
        small: pictures of pictures.
        detectors: fitted ones.
        news: told after whatever changes a job or a version.
    """

    settings: ServiceSettings
    database: Database
    files: Files
    small: Small
    detectors: Detectors
    news: News = field(default_factory=News)

    @classmethod
    def opened(cls, settings: ServiceSettings) -> Shop:
        """Open and migrate the store.

        Raises:
            OutputError, StoreBusyError: as `Database.migrate`.
            SavedError: as there; or the folder is another database's.
        """
        files = Files(settings.folder / "files")
        database = Database(settings.database or sqlite_url(settings.folder / LOCAL))
        with contextlib.ExitStack() as refused:
            refused.callback(database.close)
            database.migrate()
            _bind(settings.folder, database, files)
            refused.pop_all()
        where = {"device": settings.device, "dtype": settings.dtype}
        small = Small(settings.folder / "small")
        return cls(settings, database, files, small, Detectors(where))

    @property
    def fitted(self) -> Path:
        """Where fitted detectors lie, in a folder for each line by its id."""
        return self.settings.folder / FITTED

    def version(self, id: str) -> tuple[t.Version, Version]:
        """A version by its row's id, as row and as dataclass. Raises NotFoundError."""
        with self.database.reading() as session:
            row = records.version_called(session, id)
            return row, records.version(row, row.line)

    def row_of(self, version: Version) -> t.Version:
        """The row of a version."""
        with self.database.reading() as session:
            line = records.line_named(session, version.line)
            return records.version_numbered(session, line, version.number)

    def detector(self, row: t.Version, version: Version) -> Detector:
        """The fitted detector of a version that is ready."""
        return self.detectors.get(self.settings.folder / row.folder, version)

    def normals(self, references: Sequence[Reference], class_name: str) -> list[Sample]:
        """References as samples.

        Raises:
            SavedError, NotFoundError: a file is damaged or gone.
        """
        return [Sample(self.image(r.sha256, r.name), class_name, id=r.name) for r in references]

    def cases(self, version: Version) -> list[Example]:
        """The labelled defects of a version, for detectors that learn from such."""
        if not version.cases:
            return []
        with self.database.reading() as session:
            rows = session.scalars(select(t.Inspection).where(t.Inspection.id.in_(version.cases)))
            found = [records.inspection(row) for row in rows]
        return [
            Example(
                self.sample(row, version),
                "anomalous",
                kind=(row.feedback[0].comment if row.feedback else "") or "defect",
            )
            for row in found
        ]

    def image(self, sha256: str, name: str) -> Image:
        """A picture of the store, (H, W, 3) uint8 RGB."""
        return decode_image(self.files.read(sha256), name)

    def jpeg(self, sha256: str, name: str, side: int) -> bytes:
        """A picture of the store as JPEG, its longest side at most `side`; 0 for its own."""
        if not 0 < side <= SIDE:
            return heat.jpeg(self.image(sha256, name), side)
        if (kept := self.small.get(sha256, side)) is None:
            self.small.make(sha256, image := self.image(sha256, name))
            return heat.jpeg(image, side)
        return kept

    def sample(self, row: InspectionRow, version: Version) -> Sample:
        """An inspected part as its detector saw it, or as another version's sees it."""
        image = self.image(row.sha256, row.name)
        return Sample(image, version.class_name, standards=version.standards, id=row.id)

    def scored(
        self, inspection: t.Inspection, view: int, *, painted: bool = True
    ) -> AnomalyMap | None:
        """The map of a view as scores in [0, 1], (h, w), for the eye; None where there is none."""
        if not 0 <= view < len(inspection.maps):
            return None
        raw = heat.unpacked(self.files.read(inspection.maps[view]))
        values = inspection.version.calibration
        point = Calibration.from_json(values) if values else None
        return heat.scores(raw, point, inspection.row["evidence"], painted=painted)


def _bind(folder: Path, database: Database, files: Files) -> None:
    """Note in a folder whose files it has; raise SavedError where they are another database's."""
    with database.reading() as session:
        own = session.scalars(select(t.Folder.id)).one()
        lines = session.scalar(select(func.count(t.Line.id)))
    mark = folder / MARK
    try:
        found = mark.read_text("ascii").strip() if mark.exists() else ""
        empty = next(files.names(), None) is None
        if found not in ("", own) or not (found or lines or empty):
            raise SavedError(
                f"The files in {folder} are of another database than this one, which would take "
                "them for left over and delete them. Name the database that they were made with, "
                "or another folder."
            )
        if not found:
            install(mark, own.encode())
    except OSError as cause:
        raise OutputError(
            f"{mark} cannot be written or read: {cause.strerror or cause}. Give this account the "
            "permission."
        ) from cause
