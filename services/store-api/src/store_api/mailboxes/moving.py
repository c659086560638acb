"""Copying, moving and expunging messages (RFC 9051 §6.4.3, §6.4.7, §6.4.8)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store import Copied, CopyMessages, Expunge, Expunged, Mailbox
from store_api.db.engine import Database, run
from store_api.mailboxes.rows import count, lock

_COPY: Final = """
WITH copied AS (
    SELECT uid, blob_id, flags, internal_date, email_id, octets,
           :uid_next + row_number() OVER (ORDER BY uid) - 1 AS new_uid
    FROM message
    WHERE account_id = :account_id AND mailbox_id = :source_id
      AND (CAST(:uids AS bigint[]) IS NULL OR uid = ANY (CAST(:uids AS bigint[])))
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)
    SELECT :account_id, :target_id, new_uid, blob_id, :modseq, flags, internal_date, email_id, octets FROM copied
)
SELECT array_agg(uid ORDER BY uid) AS source_uids, array_agg(new_uid ORDER BY uid) AS target_uids,
       coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM copied
"""

_REMOVE: Final = """
WITH gone AS (
    DELETE FROM message
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id
      AND (CAST(:uids AS bigint[]) IS NULL OR uid = ANY (CAST(:uids AS bigint[])))
      AND (:force OR '\\Deleted' = ANY (flags))
    RETURNING uid, octets, flags
), tombstone AS (
    INSERT INTO expunged (account_id, mailbox_id, uid, modseq)
    SELECT :account_id, :mailbox_id, uid, :modseq FROM gone
)
SELECT array_agg(uid ORDER BY uid) AS uids, coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM gone
"""


async def copy_messages(
    database: Database, account_id: UUID, mailbox_id: UUID, copy: CopyMessages
) -> tuple[Copied, dict[UUID, int]]:
    """Copy, all or nothing; uids that are gone are left out. Returns too the new modseq of each changed mailbox.

    Raises NotFound: a mailbox isn't there.
    """
    async with database.transaction() as connection:
        both = await lock(connection, account_id, list({mailbox_id, copy.target_id}))
        source, target = both[mailbox_id], both[copy.target_id]
        copied = await copy_locked(connection, account_id, source, target, copy.uids, move=copy.move)
        if not copied.source_uids:
            return copied, {}
        changed = {target.id: target.highest_modseq + 1}
        if copy.move:
            changed[source.id] = changed.get(source.id, source.highest_modseq) + 1
        return copied, changed


async def copy_locked(
    connection: AsyncConnection,
    account_id: UUID,
    source: Mailbox,
    target: Mailbox,
    uids: list[int] | None,
    *,
    move: bool,
) -> Copied:
    """Between mailboxes that the transaction has locked; `uids` None: all."""
    row = (
        await run(
            connection,
            _COPY,
            account_id=account_id,
            source_id=source.id,
            target_id=target.id,
            uid_next=target.uid_next,
            modseq=target.highest_modseq + 1,
            uids=uids,
        )
    ).one()
    source_uids: list[int] = row.source_uids or []
    if not source_uids:
        return Copied(uid_validity=target.uid_validity, source_uids=[], target_uids=[])
    await count(
        connection,
        account_id,
        target.id,
        target.highest_modseq + 1,
        messages=len(source_uids),
        unseen=row.unseen,
        octets=int(row.octets),
    )
    if move:
        highest = target.highest_modseq + 1 if source.id == target.id else source.highest_modseq
        await _remove(connection, account_id, source.id, highest, source_uids, force=True)
    return Copied(uid_validity=target.uid_validity, source_uids=source_uids, target_uids=row.target_uids)


async def expunge(database: Database, account_id: UUID, mailbox_id: UUID, wanted: Expunge) -> Expunged:
    """Raises NotFound: the mailbox."""
    async with database.transaction() as connection:
        mailbox = (await lock(connection, account_id, [mailbox_id]))[mailbox_id]
        return await expunge_locked(connection, account_id, mailbox_id, mailbox.highest_modseq, wanted)


async def expunge_locked(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, highest: int, wanted: Expunge
) -> Expunged:
    """In a mailbox that the transaction has locked; `highest`: its modseq as it is now."""
    return await _remove(connection, account_id, mailbox_id, highest, wanted.uids, force=wanted.force)


async def _remove(
    connection: AsyncConnection,
    account_id: UUID,
    mailbox_id: UUID,
    highest: int,
    uids: list[int] | None,
    *,
    force: bool,
) -> Expunged:
    """`highest`: the locked mailbox's modseq; it only moves on if a message went."""
    row = (
        await run(
            connection,
            _REMOVE,
            account_id=account_id,
            mailbox_id=mailbox_id,
            uids=uids,
            force=force,
            modseq=highest + 1,
        )
    ).one()
    if not row.uids:
        return Expunged(modseq=highest, uids=[])
    await count(
        connection,
        account_id,
        mailbox_id,
        highest + 1,
        messages=-len(row.uids),
        unseen=-row.unseen,
        octets=-int(row.octets),
    )
    return Expunged(modseq=highest + 1, uids=row.uids)
