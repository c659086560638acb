"""Restoring what was expunged, as long as its octets are kept (the undelete window).

A tombstone with a `blob_id` can be restored, once: the message comes back with a new uid and its old EMAILID, without
\\Deleted. It goes into the mailbox that it was in; into the one of that name when that mailbox is gone, which is made
again if need be; into INBOX when there can't be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Refused
from store_api.db.engine import Database, run
from store_api.events.notifier import Changed, Notifier
from store_api.mailboxes.changing import changing, lock_list
from store_api.mailboxes.mailboxes import MAX_MAILBOXES, create_locked
from store_api.mailboxes.names import INBOX, canonical, superiors
from store_api.mailboxes.quota import lock_room
from store_api.mailboxes.rows import lock

# Ours: one call restores so many; who wants more calls again.
MAX_RESTORED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message that can be restored. `mailbox_name` as it was when the message was expunged."""

    email_id: UUID
    mailbox_id: UUID
    mailbox_name: str
    uid: int
    flags: Sequence[str]
    internal_date: int
    octets: int
    deleted_at: datetime
    summary: bytes


@dataclass(frozen=True, slots=True)
class Restored:
    """One message that is back, and where."""

    email_id: UUID
    mailbox_id: UUID
    uid: int


_LIST: Final = """
SELECT e.email_id, e.mailbox_id, e.mailbox_name, e.uid, e.flags, e.internal_date, e.octets,
       e.expunged_at AS deleted_at, b.summary
FROM expunged e JOIN blob b ON b.id = e.blob_id
WHERE e.account_id = :account_id AND e.blob_id IS NOT NULL
  AND (CAST(:at AS timestamptz) IS NULL OR (e.expunged_at, e.mailbox_id, e.uid) < (:at, :mailbox_id, :uid))
ORDER BY e.expunged_at DESC, e.mailbox_id DESC, e.uid DESC LIMIT :limit
"""


async def list_deleted(
    database: Database, account_id: UUID, before: tuple[datetime, UUID, int] | None, limit: int
) -> list[Deleted]:
    """What can be restored, deleted last first; `before`: (deleted_at, mailbox_id, uid) of the page before."""
    at, mailbox_id, uid = before or (None, None, None)
    async with database.transaction() as connection:
        rows = await run(connection, _LIST, account_id=account_id, at=at, mailbox_id=mailbox_id, uid=uid, limit=limit)
        return [Deleted(*row) for row in rows]


_WANTED: Final = """
SELECT mailbox_id, uid, mailbox_name FROM expunged
WHERE account_id = :account_id AND blob_id IS NOT NULL
  AND (CAST(:email_ids AS uuid[]) IS NULL OR email_id = ANY (CAST(:email_ids AS uuid[])))
  AND (CAST(:since AS timestamptz) IS NULL OR expunged_at >= :since)
ORDER BY expunged_at, mailbox_id, uid LIMIT :limit
"""

# `blob_id` is looked at again under the lock: the collector may have been there.
_RESTORE: Final = """
WITH wanted AS MATERIALIZED (
    SELECT e.mailbox_id AS old_mailbox_id, e.uid AS old_uid, t.target_id, t.n,
           e.blob_id, array_remove(e.flags, '\\Deleted') AS flags, e.internal_date, e.email_id, e.thread_id, e.octets
    FROM unnest(CAST(:mailbox_ids AS uuid[]), CAST(:uids AS bigint[]), CAST(:target_ids AS uuid[]))
         WITH ORDINALITY AS t (mailbox_id, uid, target_id, n)
    JOIN expunged e ON e.account_id = :account_id AND e.mailbox_id = t.mailbox_id AND e.uid = t.uid
    WHERE e.blob_id IS NOT NULL
    FOR UPDATE OF e
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY target_id ORDER BY n) - 1 AS place FROM wanted
), total AS (
    SELECT target_id, count(*) AS messages, sum(octets) AS octets,
           count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
    FROM wanted GROUP BY target_id
), counted AS (
    UPDATE mailbox m SET uid_next = m.uid_next + t.messages, highest_modseq = m.highest_modseq + 1,
                         messages = m.messages + t.messages, unseen = m.unseen + t.unseen, octets = m.octets + t.octets
    FROM total t WHERE m.account_id = :account_id AND m.id = t.target_id
    RETURNING m.id, m.uid_next - t.messages AS first_uid, m.highest_modseq
), taken AS (
    UPDATE expunged e SET blob_id = NULL FROM wanted w
    WHERE e.account_id = :account_id AND e.mailbox_id = w.old_mailbox_id AND e.uid = w.old_uid
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date,
                         email_id, thread_id, octets)
    SELECT :account_id, c.id, c.first_uid + p.place, p.blob_id, c.highest_modseq, p.flags, p.internal_date,
           p.email_id, p.thread_id, p.octets
    FROM placed p JOIN counted c ON c.id = p.target_id
)
SELECT p.email_id, c.id AS mailbox_id, c.first_uid + p.place AS uid, p.octets, c.highest_modseq AS modseq
FROM placed p JOIN counted c ON c.id = p.target_id ORDER BY p.n
"""


async def undelete(
    database: Database,
    notifier: Notifier,
    account_id: UUID,
    *,
    email_ids: Sequence[UUID] | None = None,
    since: datetime | None = None,
) -> list[Restored]:
    """Restore those with these ids, or all deleted since then, oldest first; what can't be restored is left out.

    At most `MAX_RESTORED` at a time. Raises OverQuota: nothing was restored. Refused: neither ids nor a time.
    """
    if email_ids is None and since is None:
        raise Refused("say which messages: by their ids, or since when they were deleted")
    async with changing(database, notifier) as (connection, changed):
        await lock_list(connection, account_id)
        values = {"account_id": account_id, "email_ids": email_ids, "since": since, "limit": MAX_RESTORED}
        wanted = (await run(connection, _WANTED, **values)).all()
        if not wanted:
            return []
        targets = await _targets(connection, changed, account_id, wanted)
        await lock(connection, account_id, list(set(targets)))
        room = (await lock_room(connection, [account_id]))[account_id]
        rows = (
            await run(
                connection,
                _RESTORE,
                account_id=account_id,
                mailbox_ids=[row.mailbox_id for row in wanted],
                uids=[row.uid for row in wanted],
                target_ids=targets,
            )
        ).all()
        room.take(sum(row.octets for row in rows), len(rows))
        for row in rows:
            changed.note(account_id, row.mailbox_id, row.modseq)
    return [Restored(row.email_id, row.mailbox_id, row.uid) for row in rows]


async def _targets(
    connection: AsyncConnection, changed: Changed, account_id: UUID, wanted: Sequence[Any]
) -> list[UUID]:
    """The mailbox for each of the tombstones; those that are gone are made again."""
    rows = await run(connection, "SELECT id, name FROM mailbox WHERE account_id = :account_id", account_id=account_id)
    by_name: dict[str, UUID] = {row.name: row.id for row in rows}
    known = set(by_name.values())
    for name in dict.fromkeys(row.mailbox_name for row in wanted if row.mailbox_id not in known):
        if name in by_name:
            continue
        if len(by_name) + 1 + len(superiors(name)) > MAX_MAILBOXES:
            by_name[name] = by_name[INBOX]
            continue
        by_name[name] = await create_locked(connection, account_id, canonical(name))
        changed.lists.add(account_id)
    return [row.mailbox_id if row.mailbox_id in known else by_name[row.mailbox_name] for row in wanted]
