from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from blemish.errors import SavedError
from blemish.service.store import migrations
from blemish.service.store.database import Database, sqlite_url
from blemish.service.store.tables import Base, Folder, Line

Opens = Callable[..., Database]


def schema(file: Path) -> dict[str, set[str]]:
    """What SQLite says of each table and index: its columns and constraints in any order."""
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = {name: {part.strip(" \n\t,()") for part in sql.split("\n")} for name, sql in rows}
    connection.close()
    return {name: parts for name, parts in found.items() if name != migrations.TABLE}


def test_the_steps_lead_to_what_the_tables_say(tmp_path: Path, opened: Opens) -> None:
    stepped, made = tmp_path / "new" / "stepped.db", tmp_path / "made.db"
    opened(sqlite_url(stepped)).migrate()
    engine = create_engine(sqlite_url(made))
    Base.metadata.create_all(engine)
    engine.dispose()
    assert len(schema(made)) > 15
    assert schema(stepped) == schema(made)


def test_alembic_finds_no_difference_either(database: Database, address: URL) -> None:
    engine = create_engine(address)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrations.TABLE, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(database: Database) -> None:
    with database.session() as session:
        session.add(Line(name="caps"))
    database.migrate()
    with database.reading() as session:
        assert session.scalar(text("SELECT name FROM line")) == "caps"


def test_a_database_of_the_first_step_keeps_what_it_has(address: URL, opened: Opens) -> None:
    first = importlib.import_module("blemish.service.store.migrations.versions.r0001_first")
    engine = create_engine(address)
    with engine.begin() as connection:
        options = {"version_table": migrations.TABLE}
        context = MigrationContext.configure(connection, opts=options)
        with Operations.context(context):
            first.upgrade()
        context.stamp(ScriptDirectory(Path(migrations.__file__).parent), "0001")
        connection.execute(
            text("INSERT INTO line (id, name, current, created) VALUES ('a', 'caps', 1, :now)"),
            {"now": datetime(2026, 3, 1)},
        )
    assert "folder" not in inspect(engine).get_table_names()
    engine.dispose()
    database = opened(address)
    database.migrate()
    with database.reading() as session:
        assert session.scalars(select(Line)).one().name == "caps"
        ids = session.scalars(select(Folder.id)).all()
    assert [len(id) for id in ids] == [32]
    database.migrate()
    with database.reading() as session:
        assert session.scalars(select(Folder.id)).all() == ids


def test_several_may_start_at_once(address: URL, opened: Opens) -> None:
    databases = [opened(address) for _ in range(4)]
    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(Database.migrate, databases))
    with databases[0].reading() as session:
        assert session.scalar(text(f"SELECT count(*) FROM {migrations.TABLE}")) == 1


def test_steps_that_fail_leave_nothing(address: URL, opened: Opens) -> None:
    database, engine = opened(address), create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (somebody_elses INTEGER)"))
    with pytest.raises(DBAPIError, match="already exists"):
        database.migrate()
    assert inspect(engine).get_table_names() == ["item"]
    engine.dispose()


def test_a_database_of_a_later_version_is_left_alone(database: Database) -> None:
    with database.session() as session:
        session.execute(text(f"UPDATE {migrations.TABLE} SET version_num = '9999'"))
    with pytest.raises(SavedError, match=r"step 9999, which a later.*up to \d{4}"):
        database.migrate()


def test_another_programs_alembic_is_not_in_the_way(address: URL, opened: Opens) -> None:
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('abc')"))
    opened(address).migrate()
    assert {"alembic_version", "inspection"} <= set(inspect(engine).get_table_names())
    engine.dispose()
