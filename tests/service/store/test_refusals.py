from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from blemish.errors import BlemishError, ConflictError, OutputError, SavedError, StoreBusyError
from blemish.service.store.refusals import spoken

errors = pytest.importorskip(
    "psycopg.errors", reason="needs psycopg: pip install 'blemish[postgres]'"
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("UniqueViolation", ConflictError), ("DiskFull", OutputError)),
        *(("IoError", OutputError), ("ReadOnlySqlTransaction", OutputError)),
        *(("DataCorrupted", SavedError), ("DeadlockDetected", StoreBusyError)),
        *(("SerializationFailure", StoreBusyError), ("LockNotAvailable", StoreBusyError)),
        *(("TooManyConnections", StoreBusyError), ("AdminShutdown", StoreBusyError)),
        *(("CannotConnectNow", StoreBusyError), ("QueryCanceled", StoreBusyError)),
        *(("OutOfMemory", StoreBusyError), ("ConnectionFailure", StoreBusyError)),
        ("OperationalError", StoreBusyError),
    ],
)
def test_what_postgresql_says_is_said_in_words(name: str, meant: type[BlemishError]) -> None:
    with pytest.raises(meant) as said, spoken():
        raise DBAPIError("SELECT 1", {}, getattr(errors, name)("host 10.0.0.7 says no"))
    assert "10.0.0.7" not in str(said.value)
    if meant is not ConflictError:
        with pytest.raises(meant, match=r"host 10\.0\.0\.7 says no"), spoken(starting=True):
            raise DBAPIError("SELECT 1", {}, getattr(errors, name)("host 10.0.0.7 says no"))


@pytest.mark.parametrize("name", ["ForeignKeyViolation", "SyntaxError", "UndefinedTable", "Error"])
def test_a_mistake_of_the_program_stays_what_it_is(name: str) -> None:
    with pytest.raises(DBAPIError), spoken():
        raise DBAPIError("SELECT 1", {}, getattr(errors, name)("no"))
