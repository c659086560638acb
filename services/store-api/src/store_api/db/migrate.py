"""Bring the schema up to date, one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from store_api.db.engine import Database

log = structlog.get_logger()

# Any constant: replicas that start together take turns on this advisory lock.
_LOCK: Final = 0x706F7374
# A large table takes its time; a transaction that never ends is an operator's case.
MIGRATION_TIMEOUT_S: Final = 3600.0
# Whoever waits longer for a table gives way to those who queue up behind it, and tries again.
LOCK_TIMEOUT: Final = "10s"
LATEST: Final = "head"


def _ignore() -> None:
    """Nobody wants to know."""


async def migrate(url: str, revision: str = LATEST, *, started: Callable[[], None] = _ignore) -> None:
    """Apply all migrations that are missing, in one transaction: all or none. `started`: called once it is our turn.

    Raises Unavailable: the database doesn't answer, or its tables are in use; try again.
    """
    database = Database(url, statement_timeout_s=MIGRATION_TIMEOUT_S)

    def upgrade(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        started()
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        before = MigrationContext.configure(connection).get_current_revision()
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        after = MigrationContext.configure(connection).get_current_revision()
        if after != before:
            log.info("migrated", before=before, after=after)

    try:
        async with database.transaction() as connection:
            await connection.run_sync(upgrade)
    finally:
        await database.close()
