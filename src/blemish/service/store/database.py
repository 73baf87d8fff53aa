"""Sessions on the station's database, SQLite or PostgreSQL, with the same promises on both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from blemish.errors import MissingExtraError, OptionError, OutputError
from blemish.service.store import migrations
from blemish.service.store.refusals import spoken
from blemish.service.store.turns import Turns

SOUND_WAL = (3, 51, 3)
"""Before it, SQLite may lose commits in write-ahead mode (https://sqlite.org/wal.html#walresetbug)."""
_CONNECTIONS, _MORE = 10, 40
_BEGIN = "blemish_begin"
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def sqlite_url(file: Path) -> URL:
    """The address of a SQLite database, whatever characters its path has."""
    return URL.create("sqlite", database=str(file))


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """How a SQLite library of this version is to keep its journal.

    >>> journal_mode((3, 40, 1)), journal_mode((3, 51, 3))
    ('DELETE', 'WAL')
    """
    return "WAL" if version >= SOUND_WAL else "DELETE"


class Database:
    """Where rows are kept. `migrate` comes first; any thread may open sessions, one a thread.

    Args:
        url: of a SQLite file (`sqlite_url`) or a PostgreSQL database, such as
            "postgresql://user:password@host/name".
        patience: seconds to wait for a lock or a connection before it is busy.

    Raises:
        OptionError: the address is of another kind, or is none.
        MissingExtraError: PostgreSQL's driver is not installed.
        OutputError: the folder of a SQLite file cannot be made.
    """

    def __init__(self, url: str | URL, *, patience: float = 5.0) -> None:
        address = _address(url)
        self.kind = address.get_backend_name()
        self._patience = patience
        self._turns = Turns() if self.kind == "sqlite" else None
        self._engine = _engine(address, patience)
        self._reading = self._engine.execution_options(
            **{_BEGIN: "BEGIN"}
            if self.kind == "sqlite"
            else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that may write; committed at the end, rolled back where that raises.

        In SQLite one at a time in the order of arrival, so keep it short and write files before. In
        PostgreSQL several: what is read to be changed is read `with_for_update`. Never open another
        within it. Its objects can be read after it.

        Raises:
            StoreBusyError, OutputError, SavedError, ConflictError: as `refusals.spoken` says;
                nothing was kept.
        """
        turn = self._turns.taken(self._patience) if self._turns else nullcontext()
        made = Session(self._engine, expire_on_commit=False)
        with turn, spoken(), made as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one state of the database throughout, and keeps nothing.

        Without write-ahead mode nobody can commit to SQLite meanwhile: take what is wanted, and do
        what takes long after it.

        Raises:
            StoreBusyError, SavedError: as `refusals.spoken` says.
        """
        with spoken(), Session(self._reading, expire_on_commit=False, autoflush=False) as session:
            yield session

    def migrate(self) -> None:
        """Bring the tables to what this version of blemish expects, all or none of it.

        Raises:
            SavedError: a later version has written the database, or it is damaged.
            StoreBusyError: it is locked or does not answer.
            OutputError: it cannot be written.
        """
        with spoken(starting=True):
            if self.kind == "sqlite":
                # Outside of a transaction; the file keeps it.
                outside = self._engine.execution_options(**{_BEGIN: ""})
                with outside.connect() as connection:
                    connection.exec_driver_sql(f"PRAGMA journal_mode = {journal_mode()}")
            with self._engine.begin() as connection:
                migrations.upgrade(connection)

    def ping(self) -> None:
        """Nothing where the database answers what it is asked. Raises as `reading`."""
        with self.reading() as session:
            session.execute(text(f"SELECT 1 FROM {migrations.TABLE}"))

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()


def _address(url: str | URL) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        address = None
    # Never quoted: it may hold a password.
    if address is None or address.drivername not in _DRIVERS:
        raise OptionError(
            "The address of the database is none that can be used; expected "
            "'postgresql://user@host/name', or none for SQLite in the station's folder."
        )
    address = address.set(drivername=_DRIVERS[address.drivername])
    if address.drivername == "sqlite":
        if address.database in (None, "", ":memory:"):
            raise OptionError("The address of the SQLite database names no file.")
        folder = Path(str(address.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise OutputError(
                f"The database's folder {folder} cannot be made: {cause.strerror or cause}."
            ) from cause
    return address


def _engine(address: URL, patience: float) -> Engine:
    settings: dict[str, Any] = {
        "pool_size": _CONNECTIONS,
        "max_overflow": _MORE,
        "pool_timeout": patience,
        # What people send stands in no log and no error.
        "hide_parameters": True,
        "json_serializer": _as_json,
    }
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"timeout": patience}, **settings)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # A server that was set up without a locale would give bytes for text.
    own = {"connect_timeout": str(max(2, round(patience))), "client_encoding": "utf8"}
    address = address.set(query={**own, **address.query})
    try:
        engine = create_engine(address, pool_pre_ping=True, **settings)
    except ImportError as cause:
        raise MissingExtraError(
            "PostgreSQL needs psycopg, which is not installed. Install it: "
            'pip install "blemish[postgres]"'
        ) from cause

    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"SET lock_timeout = {round(patience * 1000)}")
        connection.commit()

    event.listen(engine, "connect", set_up)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # sqlite3 would begin by itself, and only before a statement that writes.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # Also the journal's disappearance is on the disk before a commit is acknowledged.
    cursor.execute("PRAGMA synchronous = EXTRA")
    cursor.execute("PRAGMA trusted_schema = OFF")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that read first could not wait for a lock: it is refused at once, since what
    # it has read may be old. So those that may write take the lock at the start.
    if how := connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"):
        connection.exec_driver_sql(how)


def _as_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
