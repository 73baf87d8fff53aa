"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    _lines()
    _jobs()
    _inspections()
    _words()


def _table(name: str, *rest: sa.Column[Any] | sa.Constraint) -> None:
    """A table with what all have."""
    op.create_table(
        name,
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        *rest,
        sa.PrimaryKeyConstraint("seq", name=f"pk_{name}"),
        sa.UniqueConstraint("id", name=f"uq_{name}_id"),
        sqlite_autoincrement=True,
    )


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def _word(name: str, length: int = 32) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _moment(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name="_".join(("uq", table, *columns)))


def _refers(table: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([f"{to}_id"], [f"{to}.id"], name=f"fk_{table}_{to}_id")


def _index(table: str, *columns: str) -> None:
    op.create_index("_".join(("ix", table, *columns)), table, list(columns))


def _lines() -> None:
    _table("line", _text("name"), _number("current"), _moment("created"), _unique("line", "name"))
    _table(
        "version",
        *(_word("line_id"), _number("number"), _word("state"), _text("detector")),
        *(_json("options"), _text("class_name"), _text("standards"), _text("language_model")),
        *(_json("references"), _json("cases"), _json("calibration", null=True)),
        *(_text("fingerprint"), _text("folder"), _text("why"), _json("fault", null=True)),
        _moment("created"),
        _unique("version", "line_id", "number"),
        _refers("version", "line"),
    )
    _index("version", "state")


def _jobs() -> None:
    _table(
        "job",
        *(_word("line_id"), _word("version_id"), _word("state"), _text("key", null=True)),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        *(_moment("created"), _moment("started", null=True), _moment("ended", null=True)),
        _unique("job", "key"),
        *(_refers("job", "line"), _refers("job", "version")),
    )
    _index("job", "line_id")
    _index("job", "state")
    _table(
        "item",
        *(_word("job_id"), _number("position"), _text("name"), _word("sha256", 64)),
        *(_word("state"), _json("fault", null=True)),
        _unique("item", "job_id", "position"),
        _refers("item", "job"),
    )
    _index("item", "state", "seq")


def _inspections() -> None:
    _table(
        "inspection",
        *(_word("item_id"), _word("line_id"), _word("version_id")),
        *(_text("name"), _text("folded"), _word("sha256", 64), _word("verdict")),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("raw_score", sa.Double(), nullable=True),
        *(_word("decided_by"), _word("reason"), _text("explanation")),
        *(_json("row"), _json("maps"), _word("overlay", 64)),
        sa.Column("seconds", sa.Double(), nullable=False),
        *(_word("said"), _moment("created")),
        _unique("inspection", "item_id"),
        *(_refers("inspection", to) for to in ("item", "line", "version")),
    )
    _index("inspection", "line_id", "seq")
    _index("inspection", "line_id", "verdict", "seq")
    _index("inspection", "line_id", "said", "seq")
    _index("inspection", "version_id", "seq")
    _index("inspection", "verdict", "seq")
    _index("inspection", "said", "seq")
    _index("inspection", "created")


def _words() -> None:
    _table(
        "message",
        *(_word("inspection_id"), _number("number"), _word("role"), _text("text")),
        *(_text("model"), _json("fault", null=True), _moment("created")),
        _unique("message", "inspection_id", "number"),
        _refers("message", "inspection"),
    )
    _table(
        "feedback",
        *(_word("inspection_id"), _word("says"), _json("mark", null=True), _text("comment")),
        *(_number("applied"), _moment("created")),
        _refers("feedback", "inspection"),
    )
    _index("feedback", "inspection_id")
    _index("feedback", "applied")
