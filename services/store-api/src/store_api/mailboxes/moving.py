"""Copying, moving and expunging messages (RFC 9051 §6.4.3, §6.4.7, §6.4.8): statements that touch no octets."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store import Copied, CopyMessages, Expunge, Expunged, Mailbox, UidSet
from store_api.db.engine import Database, fetch
from store_api.events.notifier import Notifier
from store_api.mailboxes.changes import read_columns
from store_api.mailboxes.changing import changing
from store_api.mailboxes.quota import lock_room
from store_api.mailboxes.reaching import Held, hold
from store_api.mailboxes.rights import CHANGING, MAY_CHANGE, NO_RIGHT, Right
from store_api.mailboxes.rows import count
from store_api.mailboxes.uidsets import RANGES, ranges

# A copy is saved now (RFC 8514 §4.1); date, flags, EMAILID and THREADID are those of the original (RFC 8474 §5.1).
_COPY: Final = f"""
WITH copied AS MATERIALIZED (
    SELECT uid, blob_id, {{flags}} AS flags, internal_date, email_id, thread_id, octets,
           :uid_next + row_number() OVER (ORDER BY uid) - 1 AS new_uid
    FROM {RANGES} JOIN message ON uid BETWEEN r.first AND r.last
    WHERE account_id = :account_id AND mailbox_id = :source_id
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date,
                         email_id, thread_id, octets)
    SELECT :target_account_id, :target_id, new_uid, blob_id, :modseq, flags, internal_date, email_id, thread_id, octets
    FROM copied
)
SELECT array_agg(uid ORDER BY uid) AS source_uids, array_agg(new_uid ORDER BY uid) AS target_uids,
       coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM copied
"""

# RFC 4314 §4, COPY: only those flags come along that the rights on the target let set.
_ALL_FLAGS: Final = _COPY.format(flags="flags")
_SOME_FLAGS: Final = _COPY.format(flags=f"ARRAY(SELECT x FROM unnest(flags) AS x WHERE {MAY_CHANGE})")

# What a move takes of its source (RFC 6851 §4.2).
_MOVING: Final = Right.READ | Right.DELETE_MESSAGES | Right.EXPUNGE

# Tombstones keep what undelete needs, unless the message lives on in another mailbox.
_REMOVE: Final = f"""
WITH gone AS (
    DELETE FROM message USING {RANGES}
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid BETWEEN r.first AND r.last
      AND ((SELECT CAST(:force AS boolean)) OR '\\Deleted' = ANY (flags))
    RETURNING uid, blob_id, flags, internal_date, email_id, thread_id, octets
), tombstone AS (
    INSERT INTO expunged (account_id, mailbox_id, uid, modseq, blob_id, flags, internal_date,
                          email_id, thread_id, octets, mailbox_name)
    SELECT :account_id, :mailbox_id, uid, :modseq, CASE WHEN :restorable THEN blob_id END, flags, internal_date,
           email_id, thread_id, octets,
           (SELECT name FROM mailbox WHERE account_id = :account_id AND id = :mailbox_id)
    FROM gone
)
SELECT array_agg(uid ORDER BY uid) AS uids, coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM gone
"""


async def copy_messages(
    database: Database, notifier: Notifier, account_id: UUID, mailbox_id: UUID, copy: CopyMessages
) -> Copied:
    """Copy or move, all or nothing; uids that are gone are left out. A mailbox may be its own target.

    Raises NotFound: a mailbox isn't there. NotPermitted: one is another's, and a right is missing. OverQuota: the
    target's owner has no room. Refused: not a set of uids.
    """
    needed = {copy.target_id: Right.INSERT}
    needed[mailbox_id] = needed.get(mailbox_id, NO_RIGHT) | (_MOVING if copy.move else Right.READ)
    async with changing(database, notifier) as (connection, changed):
        both = await hold(connection, account_id, needed)
        source, target = both[mailbox_id], both[copy.target_id]
        copied = await copy_held(connection, source, target, copy.uids, move=copy.move)
        if copied.source_uids:
            changed.note(target.owner_id, target.id, target.mailbox.highest_modseq + 1)
            if copy.move:
                before = source.mailbox.highest_modseq + (1 if source.id == target.id else 0)
                changed.note(source.owner_id, source.id, before + 1)
    return copied


async def copy_locked(
    connection: AsyncConnection, account_id: UUID, source: Mailbox, target: Mailbox, uids: UidSet | None, *, move: bool
) -> Copied:
    """Between mailboxes of an account that the transaction has locked, as `copy_held` does."""
    return await copy_held(connection, Held(account_id, source), Held(account_id, target), uids, move=move)


async def copy_held(
    connection: AsyncConnection, source_held: Held, target_held: Held, uids: UidSet | None, *, move: bool
) -> Copied:
    """`uids` None: all. What goes to another account takes room there. Raises OverQuota, Refused."""
    source, target = source_held.mailbox, target_held.mailbox
    account_id, is_elsewhere = target_held.owner_id, source_held.owner_id != target_held.owner_id
    may_all = target_held.rights & CHANGING == CHANGING
    modseq = target.highest_modseq + 1
    [row] = await fetch(
        connection,
        _ALL_FLAGS if may_all else _SOME_FLAGS,
        account_id=source_held.owner_id,
        source_id=source.id,
        target_account_id=account_id,
        target_id=target.id,
        uid_next=target.uid_next,
        modseq=modseq,
        **({} if may_all else {"rights": int(target_held.rights)}),
        **ranges(uids),
    )
    source_uids: list[int] = row.source_uids or []
    if not source_uids:
        return Copied(uid_validity=target.uid_validity, source_uids=[], target_uids=[])
    messages, octets = len(source_uids), int(row.octets)
    if not move or is_elsewhere:  # what is moved within an account needs no room
        (await lock_room(connection, [account_id]))[account_id].take(octets, messages)
    await count(connection, account_id, target.id, modseq, messages=messages, unseen=row.unseen, octets=octets)
    moved = 0
    if move:
        highest = modseq if source.id == target.id else source.highest_modseq
        owner_id, kept = source_held.owner_id, is_elsewhere
        gone = await _remove(connection, owner_id, source.id, highest, source_uids, force=True, restorable=kept)
        moved = gone.modseq
    return Copied(uid_validity=target.uid_validity, source_uids=source_uids, target_uids=row.target_uids, modseq=moved)


async def expunge(
    database: Database, notifier: Notifier, account_id: UUID, mailbox_id: UUID, wanted: Expunge
) -> Expunged:
    """Raises NotFound: the mailbox. NotPermitted: another's, without `e`. Refused: not a set of uids."""
    # `force` takes messages that nobody has marked.
    needed = Right.EXPUNGE | Right.DELETE_MESSAGES if wanted.force else Right.EXPUNGE
    async with changing(database, notifier) as (connection, changed):
        held = (await hold(connection, account_id, {mailbox_id: needed}))[mailbox_id]
        expunged = await expunge_locked(connection, held.owner_id, mailbox_id, held.mailbox.highest_modseq, wanted)
        if expunged.uids:
            changed.note(held.owner_id, mailbox_id, expunged.modseq)
        if wanted.seen is None or held.owner_id != account_id:
            return expunged
        changes = await read_columns(connection, account_id, mailbox_id, wanted.seen)
        return msgspec.structs.replace(expunged, changes=changes)


async def expunge_locked(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, highest: int, wanted: Expunge
) -> Expunged:
    """In a mailbox that the transaction has locked; `highest`: its modseq as it is now. Raises Refused."""
    return await _remove(connection, account_id, mailbox_id, highest, wanted.uids, force=wanted.force, restorable=True)


async def _remove(
    connection: AsyncConnection,
    account_id: UUID,
    mailbox_id: UUID,
    highest: int,
    uids: UidSet | None,
    *,
    force: bool,
    restorable: bool,
) -> Expunged:
    """`highest`: the locked mailbox's modseq; it only moves on if a message went."""
    [row] = await fetch(
        connection,
        _REMOVE,
        account_id=account_id,
        mailbox_id=mailbox_id,
        force=force,
        restorable=restorable,
        modseq=highest + 1,
        **ranges(uids),
    )
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
