"""What a database's error means to a person: come back later, make room, or mend the file."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from blemish.errors import (
    BlemishError,
    ConflictError,
    OutputError,
    SavedError,
    StoreBusyError,
)

_log = logging.getLogger(__name__)

_LATER = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_UNWRITABLE = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TWICE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TWICE_STATE = "23505"
_UNWRITABLE_STATES = ("53100", "58030", "25006")
_DAMAGED_STATES = ("XX001", "XX002")
_LATER_STATES = ("08", "40", "53", "55P03", "57")


@contextmanager
def spoken(*, starting: bool = False) -> Iterator[None]:
    """Turn errors of the database that are nobody's mistake into those of `blemish.errors`.

    Args:
        starting: what the driver says is quoted. Who starts a station needs it; who sends it a
            request must not be told the database's address.

    Raises:
        StoreBusyError: it is locked, away or has no connection left.
        OutputError: the disk is full or must not be written.
        SavedError: the database is damaged, or is none.
        ConflictError: a row that may be there once is there already.
    """
    try:
        yield
    except NoConnectionError as cause:
        raise StoreBusyError(BUSY) from cause
    except DBAPIError as cause:
        meant = _meaning(cause)
        if meant is None:
            raise
        kind, text = meant
        said = str(cause.orig).strip().partition("\n")[0]
        if kind is not ConflictError:
            _log.warning("The database refused: %s: %s", type(cause.orig).__name__, said)
        raise kind(f"{text} ({said})" if starting else text) from cause


BUSY = "The database is locked or away. Nothing was kept of this request: send it again later."
_FULL = (
    "The database cannot be written. Nothing was kept of this request: make room on its disk, or "
    "give this account the permission to write, and send it again."
)
_BROKEN = "The database is damaged or is none. Bring it back from a backup."
_TAKEN = "That is there already: somebody made it at the same moment, or the name is taken."

_Meaning = tuple[type[BlemishError], str]


def _meaning(error: DBAPIError) -> _Meaning | None:
    """The error to raise and its words; None for mistakes of the program."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(getattr(cause, "sqlite_errorcode", 0))
    if error.connection_invalidated:
        return StoreBusyError, BUSY
    return _of_postgresql(getattr(cause, "sqlstate", None), type(cause).__name__)


def _of_sqlite(code: int) -> _Meaning | None:
    if code in _TWICE:
        return ConflictError, _TAKEN
    # The lowest byte is what happened, the rest says more of it.
    for codes, meaning in (
        (_LATER, (StoreBusyError, BUSY)),
        (_UNWRITABLE, (OutputError, _FULL)),
        (_DAMAGED, (SavedError, _BROKEN)),
    ):
        if code & 0xFF in codes:
            return meaning
    return None


def _of_postgresql(state: str | None, name: str) -> _Meaning | None:
    if not state:
        # A connection that cannot be made or broke has no state.
        return (StoreBusyError, BUSY) if name == "OperationalError" else None
    if state == _TWICE_STATE:
        return ConflictError, _TAKEN
    if state in _UNWRITABLE_STATES:
        return OutputError, _FULL
    if state in _DAMAGED_STATES:
        return SavedError, _BROKEN
    return (StoreBusyError, BUSY) if state.startswith(_LATER_STATES) else None
