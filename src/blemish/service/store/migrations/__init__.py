"""The tables' history, one module a step in `versions/`; the newest is what `tables` says.

A step has `revision`, `down_revision` (the step before) and `upgrade()`, which uses `alembic.op`.
A step that was published never changes. In SQLite columns are changed with `op.batch_alter_table`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from blemish.errors import SavedError

TABLE = "blemish_schema"
"""Which step a database has reached; another program's alembic has a table of another name."""
_ONE_AT_A_TIME = 0x626C656D


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest step, within the transaction of this connection.

    Raises:
        SavedError: it has reached a step that this version of blemish does not know.
    """
    if connection.dialect.name == "postgresql":
        # Two that start at once: the second finds all done. SQLite's transaction sees to it.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
    scripts = ScriptDirectory(Path(__file__).parent)

    def steps(reached: tuple[str, ...], _: MigrationContext) -> Iterable[MigrationStep]:
        known = {script.revision for script in scripts.walk_revisions()}
        if unknown := set(reached) - known:
            raise SavedError(
                f"The database has reached step {', '.join(sorted(unknown))}, which a later "
                "version of blemish has made; this one knows steps up to "
                f"{scripts.get_current_head()}. Install that version, or choose another folder or "
                "database."
            )
        missing = list(scripts.iterate_revisions("heads", reached or "base"))
        return [
            MigrationStep.upgrade_from_script(scripts.revision_map, script)
            for script in reversed(missing)
        ]

    options: dict[str, Any] = {"fn": steps, "version_table": TABLE, "transactional_ddl": True}
    context = MigrationContext.configure(connection, opts=options)
    with Operations.context(context):
        context.run_migrations()
