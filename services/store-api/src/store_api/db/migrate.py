"""Bring the schema up to date, one process at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from store_api.db.engine import Database

# Any constant: replicas that start together take turns on this advisory lock.
_LOCK: Final = 0x706F7374


async def migrate(database: Database) -> None:
    """Apply all migrations that are missing. Raises Unavailable."""

    def upgrade(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with database.transaction() as connection:
        await connection.run_sync(upgrade)
