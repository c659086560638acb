"""Clearing up behind deleted accounts, in batches that hold no lock for long."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, Unavailable
from store_api.db.engine import Database, run

log = structlog.get_logger()

POLL_S: Final = 5.0
CONFLICT_PAUSE_S: Final = 0.2
# Rows of one table that one transaction deletes: some tens of milliseconds.
BATCH: Final = 2000

# What belongs to an account and may be large; the rest goes with the account's row. Octets are the collector's.
_LARGE: Final = ("message", "expunged", "message_text", "search_word", "thread_reference")
_SMALL: Final = ("maildrop_lock", "mailbox")

_NEXT: Final = """
SELECT id FROM account WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""


class Removal:
    """One per process; replicas take different accounts (SKIP LOCKED)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deleted = asyncio.Event()

    def wake(self) -> None:
        """An account was deleted just now."""
        self._deleted.set()

    async def run(self) -> None:
        """Clear up until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except Unavailable as error:
                log.info("removal_waits", error=str(error))
            except Conflict:
                # The indexer, which locks no mailbox, wrote a row of the account between the last batch and the end.
                await asyncio.sleep(CONFLICT_PAUSE_S)
                continue
            try:
                async with asyncio.timeout(POLL_S):
                    await self._deleted.wait()
            except TimeoutError:
                continue
            self._deleted.clear()

    async def step(self) -> bool:
        """Delete one batch of one deleted account; False when there is nothing to do."""
        async with self._database.transaction() as connection:
            account_id: UUID | None = (await run(connection, _NEXT)).scalar()
            if account_id is None:
                return False
            # The lock that everybody takes who writes messages: what is under way ends before.
            await run(
                connection,
                "SELECT FROM mailbox WHERE account_id = :id ORDER BY account_id, id FOR UPDATE",
                id=account_id,
            )
            for table in _LARGE:
                if await _delete_some(connection, table, account_id):
                    return True
            for table in _SMALL:
                await run(connection, f"DELETE FROM {table} WHERE account_id = :id", id=account_id)
            await run(connection, "DELETE FROM account WHERE id = :id", id=account_id)
        log.info("account_removed", account_id=str(account_id))
        return True


async def _delete_some(connection: AsyncConnection, table: str, account_id: UUID) -> bool:
    """Whether there was something to delete."""
    deleted = await run(
        connection,
        f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE account_id = :id LIMIT :batch))",
        id=account_id,
        batch=BATCH,
    )
    return bool(deleted.rowcount)
