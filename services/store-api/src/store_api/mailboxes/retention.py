"""What ends by time: messages in Trash and Junk after some days, tombstones when nobody can need them any more.

Both run beside the service in small transactions, one mailbox at a time; replicas pass over what another has locked.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog

from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.store import Expunge
from store_api.db.engine import Database, run
from store_api.events.notifier import Notifier
from store_api.mailboxes.changing import changing
from store_api.mailboxes.moving import expunge_locked

log = structlog.get_logger()

PAUSE_S: Final = 900.0
# Messages, or tombstones, of one transaction.
BATCH: Final = 1000

_NOBODY: Final = UUID(int=0)

# The oldest message of a mailbox has the lowest uid: that one is looked at, and no other while it is young enough.
# Days count from when a message came into this mailbox (RFC 8514), as it may have lain in another for years.
_NEXT_FULL: Final = """
SELECT m.account_id, m.id, m.highest_modseq, r.days
FROM mailbox m
JOIN account a ON a.id = m.account_id
JOIN domain d ON d.id = a.domain_id
CROSS JOIN LATERAL (
    SELECT coalesce(m.retention_days,
                    CASE m.special_use WHEN '\\Trash' THEN d.trash_days WHEN '\\Junk' THEN d.junk_days END) AS days
) r
WHERE (m.retention_days IS NOT NULL OR m.special_use IN ('\\Trash', '\\Junk'))
  AND (m.account_id, m.id) >= (:account_id, :mailbox_id) AND m.messages > 0 AND r.days > 0
  AND (SELECT x.saved_date FROM message x WHERE x.account_id = m.account_id AND x.mailbox_id = m.id
       ORDER BY x.uid LIMIT 1) < extract(epoch FROM now()) - r.days * 86400
ORDER BY m.account_id, m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
"""

_EXPIRED: Final = """
SELECT uid FROM (
    SELECT uid, saved_date FROM message WHERE account_id = :account_id AND mailbox_id = :mailbox_id
    ORDER BY uid LIMIT :batch
) oldest
WHERE saved_date < extract(epoch FROM now()) - :days * 86400
"""

_NEXT_TOMBSTONES: Final = """
SELECT m.account_id, m.id
FROM (
    SELECT DISTINCT account_id, mailbox_id FROM (
        SELECT account_id, mailbox_id FROM expunged
        WHERE blob_id IS NULL AND expunged_at < now() - make_interval(days => :days)
        ORDER BY expunged_at LIMIT :batch
    ) oldest
) e
JOIN mailbox m ON m.account_id = e.account_id AND m.id = e.mailbox_id
ORDER BY m.account_id, m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
"""

# From then on a view older than `purged_modseq` is read anew, so nobody asks for blocks that changed before.
_PURGE: Final = """
WITH gone AS (
    DELETE FROM expunged e
    USING (SELECT uid FROM expunged
           WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND blob_id IS NULL
             AND expunged_at < now() - make_interval(days => :days)
           ORDER BY modseq LIMIT :batch) doomed
    WHERE e.account_id = :account_id AND e.mailbox_id = :mailbox_id AND e.uid = doomed.uid
    RETURNING e.modseq
), settled AS (
    DELETE FROM changed_block
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq <= (SELECT max(modseq) FROM gone)
)
UPDATE mailbox SET purged_modseq = greatest(purged_modseq, (SELECT max(modseq) FROM gone))
WHERE account_id = :account_id AND id = :mailbox_id
RETURNING (SELECT count(*) FROM gone)
"""

_PURGE_OF_FORMER_MAILBOXES: Final = """
DELETE FROM expunged WHERE ctid = ANY (ARRAY(
    SELECT e.ctid FROM expunged e
    WHERE e.blob_id IS NULL AND e.expunged_at < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.account_id = e.account_id AND m.id = e.mailbox_id)
    ORDER BY e.expunged_at LIMIT :batch FOR UPDATE SKIP LOCKED
))
"""


class Retention:
    """One per process. `tombstone_days`: a client that was away for longer reads its mailboxes anew."""

    def __init__(self, database: Database, notifier: Notifier, tombstone_days: int) -> None:
        self._database, self._notifier, self._tombstone_days = database, notifier, tombstone_days

    async def run(self) -> None:
        """Look after it all every quarter of an hour, until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.info("retention_waits", error=str(error))
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Remove what has to go now. Raises Unavailable."""
        account_id = mailbox_id = _NOBODY
        expired = purged = 0
        while (step := await self._expire(account_id, mailbox_id)) is not None:
            account_id, mailbox_id, removed = step
            expired += removed
        while removed := await self._purge():
            purged += removed
        if expired or purged:
            log.info("retention", expired=expired, purged=purged)

    async def _expire(self, account_id: UUID, mailbox_id: UUID) -> tuple[UUID, UUID, int] | None:
        """Remove a batch from the next mailbox that has to lose some, from this one on: where, how many."""
        async with changing(self._database, self._notifier) as (connection, changed):
            place = {"account_id": account_id, "mailbox_id": mailbox_id}
            due = (await run(connection, _NEXT_FULL, **place)).one_or_none()
            if due is None:
                return None
            place = {"account_id": due.account_id, "mailbox_id": due.id}
            uids = list((await run(connection, _EXPIRED, **place, days=due.days, batch=BATCH)).scalars())
            doomed = Expunge(uids=uids, force=True)
            expunged = await expunge_locked(connection, due.account_id, due.id, due.highest_modseq, doomed)
            changed.note(due.account_id, due.id, expunged.modseq)
            return due.account_id, due.id, len(expunged.uids)

    async def _purge(self) -> int:
        """Remove a batch of tombstones; how many."""
        values = {"days": self._tombstone_days, "batch": BATCH}
        async with self._database.transaction() as connection:
            due = (await run(connection, _NEXT_TOMBSTONES, **values)).one_or_none()
            if due is None:
                return (await run(connection, _PURGE_OF_FORMER_MAILBOXES, **values)).rowcount
            purged = await run(connection, _PURGE, account_id=due.account_id, mailbox_id=due.id, **values)
            return int(purged.scalar_one())
