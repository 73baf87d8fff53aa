"""Column types that mean the same in SQLite and in PostgreSQL."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

_UNKEPT = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL keeps no NUL, and neither keeps half a surrogate pair; file names may hold both."""

Counter = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts by itself in INTEGER columns only, which hold 64 bits there."""
Json = JSON(none_as_null=True)
"""Values of inspections.jsonl; one that is changed in place is not noticed: assign another."""


def now() -> datetime:
    """The time in UTC by this computer's clock; databases have clocks of their own."""
    return datetime.now(UTC)


class Words(TypeDecorator[str]):
    """Text as people and programs send it; what no database keeps becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What is written, and what is compared with."""
        return None if value is None else _UNKEPT.sub("\ufffd", value)


class Moment(TypeDecorator[datetime]):
    """A time in UTC with its time zone, which SQLite does not keep."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is written, and what is compared with. Raises ValueError without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; expected a time such as now() gives.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is read."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
