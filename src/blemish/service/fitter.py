"""The thread that fits versions, one at a time.

Which ones is in the store alone: a version is to be fitted until, in one transaction, it is ready
or has failed. So a killed station leaves nothing to mend.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from sqlalchemy import select, update

from blemish.errors import NotFoundError, StoreBusyError
from blemish.runs import reading
from blemish.service import fitting, records
from blemish.service.shop import FITTED, LINES, Shop
from blemish.service.steady import steady
from blemish.service.store import tables as t

_log = logging.getLogger(__name__)


class Fitter:
    """See the module.

    Args:
        shop: store and detectors.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        todo = (self._stop, shop.news, LINES, self._once, "A version")
        self._thread = threading.Thread(target=steady, args=todo, name="fit", daemon=True)

    def start(self) -> None:
        """Begin to fit; once."""
        self._thread.start()

    def close(self) -> None:
        """Let the version that is being fitted come to its end; the rest waits for a start."""
        self._stop.set()
        self._shop.news.tell(LINES)
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _once(self) -> bool:
        """Fit the oldest version that waits; whether there was one."""
        wanted = select(t.Version.id).where(t.Version.state == "fitting").order_by(t.Version.seq)
        with self._shop.database.reading() as session:
            id = session.scalar(wanted.limit(1))
        if id is None:
            return False
        try:
            self._fitted(id)
        except StoreBusyError:
            raise
        except Exception as error:
            said = reading.failure("The version", error)
            _log.warning("A version could not be fitted: %s", said.error)
            with contextlib.suppress(NotFoundError):  # the line was deleted meanwhile
                self._failed(id, {"error": said.error, "message": said.message})
        finally:  # also where the database kept it and did not say so
            self._shop.news.tell(LINES)
        return True

    def _fitted(self, id: str) -> None:
        row, version = self._shop.version(id)
        folder = f"{FITTED}/{row.line_id}/{row.number}"
        where = {"device": self._shop.settings.device, "dtype": self._shop.settings.dtype}
        normals = self._shop.normals(version.references, version.class_name)
        detector = fitting.fitted(version, normals, self._shop.cases(version), where)
        fitting.save(detector, self._shop.settings.folder / folder)
        self._shop.detectors.put(self._shop.settings.folder / folder, detector)
        calibration = detector.calibration
        with self._shop.database.session() as session:
            found = records.version_called(session, id)
            line = records.line_named(session, found.line.name, lock="change")
            found.state = "ready"
            found.folder = folder
            found.fingerprint = detector.fingerprint
            found.calibration = calibration.to_json() if calibration else None
            line.current = max(line.current, found.number)

    def _failed(self, id: str, fault: dict[str, str]) -> None:
        with self._shop.database.session() as session:
            found = records.version_called(session, id)
            if found.state != "fitting":  # the store kept that it is ready, and then failed
                return
            found.state, found.fault = "failed", fault
            of_line = select(t.Inspection.id).where(t.Inspection.line_id == found.line_id)
            session.execute(
                update(t.Feedback)
                .where(t.Feedback.applied == found.number, t.Feedback.inspection_id.in_(of_line))
                .values(applied=0)
                .execution_options(synchronize_session=False)
            )
