"""Transactions that change mailboxes: what they changed is told once, after the commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import Database, run
from store_api.events.notifier import Changed, Notifier

# Any constant; the second key is taken from the account's id.
_LIST_LOCK: Final = 0x6C697374


@asynccontextmanager
async def changing(database: Database, notifier: Notifier) -> AsyncIterator[tuple[AsyncConnection, Changed]]:
    """A transaction, and where to note what it changes; nothing is told if it fails.

    Raises Unavailable, Conflict, Refused, as `Database.transaction` does.
    """
    changed = Changed()
    async with database.transaction() as connection:
        yield connection, changed
    await notifier.announce(changed)


async def lock_list(connection: AsyncConnection, account_id: UUID) -> None:
    """Until the transaction ends, nobody else changes which mailboxes the account has, or their names.

    Taken before any lock of a row.
    """
    await run(
        connection,
        "SELECT pg_advisory_xact_lock(:lock, hashtext(CAST(CAST(:account_id AS uuid) AS text)))",
        lock=_LIST_LOCK,
        account_id=account_id,
    )
