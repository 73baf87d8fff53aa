"""Which folder belongs to this database."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, with its one row."""
    made = op.create_table(
        "folder",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_folder"),
        sa.UniqueConstraint("id", name="uq_folder_id"),
        sqlite_autoincrement=True,
    )
    op.bulk_insert(made, [{"id": uuid.uuid4().hex}])
