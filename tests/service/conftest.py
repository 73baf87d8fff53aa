"""A station with a detector that needs no weights, on a database of each kind."""

from __future__ import annotations

import io
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from blemish import registry
from blemish.service import logs
from blemish.service.settings import ServiceSettings
from blemish.service.station import Station

POSTGRES = "BLEMISH_TEST_POSTGRES"


@pytest.fixture
def shade(module: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `shade`, whose detector is registered as long as the test runs."""
    loaded = module(Path(__file__).with_name("shade.py"))
    table = {**registry.detectors(), "shade": loaded.ENTRY}
    monkeypatch.setattr(registry, "detectors", lambda: table)
    return loaded


@pytest.fixture(scope="session")
def postgres_server() -> URL:
    """A PostgreSQL database in which schemas may be made."""
    given = os.environ.get(POSTGRES, "")
    if not given:
        pytest.skip(
            "needs PostgreSQL: apt-get install postgresql, and run the tests by "
            "scripts/with-postgres; or name a database in which schemas may be made: "
            f"{POSTGRES}=postgresql://user@host/name"
        )
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'blemish[postgres]'")
    return make_url(given).set(drivername="postgresql+psycopg")


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[URL]:
    """A schema of its own, which goes with the test."""
    schema = f"test_{uuid.uuid4().hex}"
    server = create_engine(postgres_server)
    with server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield postgres_server.update_query_dict({"options": f"-csearch_path={schema}"})
    with server.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> ServiceSettings:
    """Of a station on a database of each kind in turn."""
    database = ""
    if request.param == "postgresql":
        url: URL = request.getfixturevalue("postgres_url")
        database = url.render_as_string(hide_password=False)
    return ServiceSettings.of(folder=tmp_path / "station", database=database)


@pytest.fixture
def station(shade: ModuleType, settings: ServiceSettings) -> Iterator[Station]:
    """A station that works, without any line."""
    with Station(settings) as made:
        yield made


@pytest.fixture
def caps(station: Station, shade: ModuleType) -> str:
    """A line called "caps" whose good parts are light all over, ready to inspect."""
    shade.make_caps(station)
    return "caps"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The station's log; loggers are as before afterwards."""
    names = ("blemish", "uvicorn", "alembic", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one.handlers[:], one.propagate, one.level, one.disabled) for one in loggers]
    stream = io.StringIO()
    logs.configure(["canary-token-1234567890", ""], stream)
    yield stream
    for one, (handlers, propagate, level, disabled) in zip(loggers, before, strict=True):
        one.handlers[:], one.propagate, one.disabled = handlers, propagate, disabled
        one.setLevel(level)
