"""A database of each kind, and what a line with one part needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from blemish.service.store.database import Database, sqlite_url
from blemish.service.store.tables import Inspection, Item, Job, Line, Version

DIGEST = "0" * 64


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Where a SQLite database is made, under a name that no address may hold as it is."""
    folder = tmp_path / "50 % of #7?"
    folder.mkdir()
    return folder / "station.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> URL:
    """Of a database without tables, of each kind in turn."""
    if request.param == "sqlite":
        return sqlite_url(request.getfixturevalue("sqlite_file"))
    found: URL = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def opened() -> Iterator[Callable[..., Database]]:
    """Opens databases, and closes them after the test."""
    made: list[Database] = []

    def open_(url: URL, patience: float = 10.0) -> Database:
        made.append(Database(url, patience=patience))
        return made[-1]

    yield open_
    for database in made:
        database.close()


@pytest.fixture
def database(address: URL, opened: Callable[..., Database]) -> Database:
    """With tables, of each kind in turn."""
    made = opened(address)
    made.migrate()
    return made


@pytest.fixture
def lite(sqlite_file: Path, opened: Callable[..., Database]) -> Database:
    """A SQLite database with tables."""
    made = opened(sqlite_url(sqlite_file))
    made.migrate()
    return made


@pytest.fixture
def line() -> Callable[[Database], tuple[Line, Version]]:
    """Writes a line with one version."""

    def write(database: Database) -> tuple[Line, Version]:
        made = Line(name="caps")
        version = Version(line=made, number=1, detector="patch-memory", class_name="bottle cap")
        with database.session() as session:
            session.add(version)
        return made, version

    return write


@pytest.fixture
def inspected(
    line: Callable[[Database], tuple[Line, Version]],
) -> Callable[[Database], Inspection]:
    """Writes an inspection, with all that it needs."""

    def write(database: Database) -> Inspection:
        of, version = line(database)
        with database.session() as session:
            session.add_all([of, version])
            job = Job(line=of, version=version)
            item = Item(job=job, position=0, name="Stück 1.PNG", sha256=DIGEST)
            found = Inspection(
                item=item,
                line=of,
                version=version,
                name=item.name,
                sha256=DIGEST,
                verdict="anomalous",
                decided_by="calibration",
            )
            session.add(found)
        return found

    return write
