from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

from blemish.errors import ConflictError, OptionError, OutputError, SavedError, StoreBusyError
from blemish.service.store import database as module
from blemish.service.store.database import Database, sqlite_url
from blemish.service.store.tables import Job, Line, Version

Writes = Callable[[Database], tuple[Line, Version]]
Opens = Callable[..., Database]


@contextmanager
def locked(url: URL) -> Iterator[None]:
    """Another program that has all to itself."""
    if url.get_backend_name() == "sqlite":
        other = sqlite3.connect(str(url.database), isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()
        other.close()
        return
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE line IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


def lines(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(Line.id))) or 0


def test_a_session_keeps_all_or_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session() as session:
            session.add(Line(name="lost"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert lines(database) == 0
    with database.session() as session:
        kept = Line(name="kept")
        session.add(kept)
    assert lines(database) == 1
    assert kept.name == "kept", "it can be read after the session"


def test_what_is_written_while_reading_is_not_kept(lite: Database) -> None:
    with lite.reading() as session:
        session.add(Line(name="lost"))
        session.flush()
    assert lines(lite) == 0


def test_a_locked_database_is_busy_after_a_while_and_works_again(
    database: Database, address: URL, opened: Opens
) -> None:
    database = opened(address, patience=0.5)
    with locked(address):
        begun = time.monotonic()
        with pytest.raises(StoreBusyError, match="send it again later"), database.session() as new:
            new.add(Line(name="caps"))
        with pytest.raises(StoreBusyError):
            lines(database)
        assert 0.5 < time.monotonic() - begun < 5
    assert lines(database) == 0
    with database.session() as session:
        session.add(Line(name="caps"))
    assert lines(database) == 1


def test_a_lock_that_goes_in_time_is_waited_for(database: Database, address: URL) -> None:
    held = locked(address)
    held.__enter__()
    timer = threading.Timer(0.15, held.__exit__, (None, None, None))
    timer.start()
    with database.session() as session:
        session.add(Line(name="caps"))
    timer.join()
    assert lines(database) == 1


def test_no_change_is_lost_between_writers(address: URL, opened: Opens) -> None:
    databases = [opened(address) for _ in range(4)]
    databases[0].migrate()
    with databases[0].session() as session:
        session.add(Line(name="caps"))

    def count(database: Database) -> None:
        for _ in range(10):
            with database.session() as session:
                found = session.scalars(select(Line).with_for_update()).one()
                found.current += 1

    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(count, databases))
    with databases[0].reading() as session:
        assert session.scalars(select(Line.current)).one() == 40


def test_the_same_key_at_once_makes_one_job(database: Database, line: Writes) -> None:
    of, version = line(database)

    def accept(_: int) -> str:
        try:
            with database.session() as session:
                session.add(Job(line_id=of.id, version_id=version.id, key="the same request"))
        except ConflictError:
            return "taken"
        return "made"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(accept, range(8))) == ["made"] + ["taken"] * 7
    with database.reading() as session:
        assert session.scalar(select(func.count(Job.id))) == 1


def test_a_row_that_names_no_other_is_a_mistake_of_the_program(database: Database) -> None:
    with pytest.raises(IntegrityError) as mistake, database.session() as session:
        session.add(Version(line_id="nobody", number=1, detector="x", class_name="canary"))
    assert "canary" not in str(mistake.value)


def test_what_people_send_stands_in_no_error_and_no_log(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        try:
            with database.session() as session:
                session.add(Line(name="canary"))
        except ConflictError as error:
            said = str(error)
    assert "canary" not in said + caplog.text


def test_a_full_disk_is_said_and_harms_nothing(lite: Database) -> None:
    with lite.session() as session:
        session.add(Line(name="before"))
        pages = session.scalar(text("PRAGMA page_count"))
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(OutputError, match="make room"), lite.session() as session:
        session.add(Line(name="x" * 100_000))
    assert lines(lite) == 1
    with lite.session() as session:
        session.execute(text("PRAGMA max_page_count = 1000000"))
        session.add(Line(name="x" * 100_000))
    assert lines(lite) == 2


@pytest.mark.parametrize(
    "start", [b"no database at all " * 100, b"SQLite format 3\0" + b"\xff" * 999]
)
def test_a_file_that_is_no_database_is_refused(start: bytes, sqlite_file: Path) -> None:
    sqlite_file.write_bytes(start)
    with pytest.raises(SavedError, match="damaged or is none"):
        Database(sqlite_url(sqlite_file)).migrate()
    assert sqlite_file.read_bytes() == start


def test_sqlite_is_set_up_so_that_nothing_is_lost(lite: Database) -> None:
    sound = sqlite3.sqlite_version_info >= (3, 51, 3)
    wanted = {
        "journal_mode": "wal" if sound else "delete",
        "foreign_keys": 1,
        "synchronous": 3,
        "busy_timeout": 10_000,
    }
    with lite.session() as session:
        assert {n: session.scalar(text(f"PRAGMA {n}")) for n in wanted} == wanted


def test_a_database_in_write_ahead_mode_is_brought_back_where_the_library_loses_commits(
    lite: Database, sqlite_file: Path, opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.close()
    newer = sqlite3.connect(sqlite_file)
    assert newer.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    newer.close()
    monkeypatch.setattr(module, "SOUND_WAL", (999,))
    with locked(sqlite_url(sqlite_file)):
        hasty = opened(sqlite_url(sqlite_file), patience=0.1)
        with pytest.raises(StoreBusyError, match="database is locked"):
            hasty.migrate()
        hasty.close()
    lite.migrate()
    lite.close()
    after = sqlite3.connect(sqlite_file)
    assert after.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    after.close()


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://user:canary@host/name"),
        *("postgresql+asyncpg://user:canary@host/name", "https://user:canary@host/"),
    ],
)
def test_an_address_of_another_kind_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(OptionError, match=r"address of the (SQLite )?database") as refused:
        Database(url)
    assert "canary" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be made"):
        Database(sqlite_url(tmp_path / "file" / "station.db"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_server_that_is_away_is_told_to_who_starts_and_not_to_who_asks(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'blemish[postgres]'")
    away = Database(f"{scheme}://user:canary@127.0.0.1:1/name", patience=0.5)
    with pytest.raises(StoreBusyError, match="Connection refused"):
        away.migrate()
    with caplog.at_level(logging.WARNING), pytest.raises(StoreBusyError) as refused:
        away.ping()
    assert "127.0.0.1" not in str(refused.value)
    assert "canary" not in str(refused.value) + caplog.text
    away.close()


def test_a_connection_that_postgresql_ends_is_replaced(postgres_url: URL, opened: Opens) -> None:
    database = opened(postgres_url)
    database.migrate()

    def cut_off() -> None:
        with database.session() as session:
            session.add(Line(name="lost"))
            mine = session.scalar(text("SELECT pg_backend_pid()"))
            server = create_engine(postgres_url)
            with server.begin() as connection:
                connection.execute(text(f"SELECT pg_terminate_backend({mine})"))
            server.dispose()

    with pytest.raises(StoreBusyError):
        cut_off()
    assert lines(database) == 0


def test_text_is_text_whatever_encoding_the_server_was_set_up_with(
    postgres_url: URL, opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    database = opened(postgres_url)
    database.migrate()
    with database.session() as session:
        session.add(Line(name="Größe"))
    with database.reading() as session:
        assert session.scalars(select(Line.name)).all() == ["Größe"]


def test_one_state_is_seen_throughout(postgres_url: URL, opened: Opens) -> None:
    database = opened(postgres_url)
    database.migrate()
    with database.reading() as reading:
        assert reading.scalar(select(func.count(Line.id))) == 0
        with database.session() as session:
            session.add(Line(name="caps"))
        assert reading.scalar(select(func.count(Line.id))) == 0
    assert lines(database) == 1
