"""Changing flags (RFC 9051 §6.4.6, RFC 7162 §3.1.3)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotPermitted, Refused
from mail_runtime.contracts.store import FlagSet, FlagsStored, Mailbox, StoreFlags
from store_api.db.engine import Database, fetch
from store_api.events.notifier import Notifier
from store_api.mailboxes.changes import read_columns
from store_api.mailboxes.changing import changing
from store_api.mailboxes.flag_names import MAX_FLAGS, canonical_flags
from store_api.mailboxes.plain_flags import is_plain, store_plainly
from store_api.mailboxes.reaching import hold
from store_api.mailboxes.rights import ALL_RIGHTS, CHANGING, MAY_CHANGE, Right, changeable
from store_api.mailboxes.rows import count
from store_api.mailboxes.uidsets import RANGES, ranges

_NEW_FLAGS: Final = {
    # Mostly none of them is there yet: that is seen without a subquery for each message.
    "add": "CASE WHEN string_to_array(lower(array_to_string(flags, ' ')), ' ') && CAST(:lowered AS text[])"
    " THEN flags || ARRAY(SELECT f FROM unnest(CAST(:flags AS text[])) AS f"
    " WHERE lower(f) NOT IN (SELECT lower(x) FROM unnest(flags) AS x))"
    " ELSE flags || CAST(:flags AS text[]) END",
    "remove": "ARRAY(SELECT x FROM unnest(flags) AS x WHERE lower(x) <> ALL (CAST(:lowered AS text[])))",
    "replace": "CAST(:flags AS text[])",
}

# … by somebody who may not change all: those stay.
_REPLACE_SOME: Final = f"ARRAY(SELECT x FROM unnest(flags) AS x WHERE NOT ({MAY_CHANGE})) || CAST(:flags AS text[])"

# No flag is there twice.
_DIFFERS: Final = {
    "add": "cardinality(candidate.new) > cardinality(candidate.old)",
    "remove": "cardinality(candidate.new) < cardinality(candidate.old)",
    "replace": "NOT (candidate.old @> candidate.new AND candidate.new @> candidate.old)",
}

# The array is for the planner, who takes a thousand ranges for most of the mailbox and would read all of it.
_STORE: Final = f"""
WITH candidate AS MATERIALIZED (
    SELECT uid, modseq, flags AS old, {{new}} AS new
    FROM {RANGES} CROSS JOIN LATERAL (
        SELECT uid, modseq, flags FROM message
        WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid BETWEEN r.first AND r.last
        OFFSET 0
    ) AS m
), changed AS (
    UPDATE message SET flags = candidate.new, modseq = :modseq
    FROM candidate
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND message.uid = candidate.uid
      AND message.uid = ANY (ARRAY(SELECT uid FROM candidate WHERE {{differs}}))
      AND (CAST(:unchanged_since AS bigint) IS NULL OR candidate.modseq <= :unchanged_since)
      AND {{differs}}
    RETURNING cardinality(candidate.new) AS flags,
              CAST('\\Seen' = ANY (candidate.old) AS integer)
            - CAST('\\Seen' = ANY (candidate.new) AS integer) AS unseen
)
SELECT count(*) AS messages, coalesce(sum(unseen), 0) AS unseen, coalesce(max(flags), 0) AS most_flags,
       (SELECT array_agg(uid ORDER BY uid) FROM candidate WHERE modseq > :unchanged_since) AS modified
FROM changed
"""


async def store_flags(
    database: Database, notifier: Notifier, account_id: UUID, mailbox_id: UUID, change: StoreFlags
) -> FlagsStored:
    """Change the flags of those messages that are there.

    Raises NotFound: the mailbox. NotPermitted: it is another's, and none of these flags may be changed there.
    Refused: not a flag, too many, or not a set of uids; nothing was changed.
    """
    if is_plain(change):
        wanted = FlagSet(account_id=account_id, mailbox_id=mailbox_id, change=change)
        [stored] = await store_plainly(database, notifier, [wanted])
        if stored is not None:
            return stored
    async with changing(database, notifier) as (connection, changed):
        held = (await hold(connection, account_id, {mailbox_id: Right.READ}))[mailbox_id]
        stored = await store_flags_locked(connection, held.owner_id, held.mailbox, change, held.rights)
        if stored.modseq != held.mailbox.highest_modseq:
            changed.note(held.owner_id, mailbox_id, stored.modseq)
        if change.seen is None or held.owner_id != account_id:
            return stored
        # Nobody else changes the mailbox before the transaction ends.
        changes = await read_columns(connection, account_id, mailbox_id, change.seen)
        return msgspec.structs.replace(stored, changes=changes)


async def store_flags_locked(
    connection: AsyncConnection,
    account_id: UUID,
    mailbox: Mailbox,
    change: StoreFlags,
    rights: Right = ALL_RIGHTS,
) -> FlagsStored:
    """In a mailbox that the transaction has locked. What changes nothing takes no modseq.

    Flags that `rights` don't let change stay as they are (RFC 4314 §4, STORE). Raises NotPermitted: none could.
    Refused: not a flag, too many, or not a set of uids; the transaction must not commit.
    """
    modseq = mailbox.highest_modseq + 1
    flags = canonical_flags(change.flags)
    values: dict[str, Any] = ranges(change.uids)
    new, differs = _NEW_FLAGS[change.operation], _DIFFERS[change.operation]
    if rights & CHANGING != CHANGING:
        flags = _permitted(flags, change.operation, rights)
        if change.operation == "replace":
            new, values["rights"] = _REPLACE_SOME, int(rights)
    if change.operation != "remove":
        values["flags"] = flags
    if change.operation != "replace":
        values["lowered"] = [flag.lower() for flag in flags]
    [row] = await fetch(
        connection,
        _STORE.format(new=new, differs=differs),
        account_id=account_id,
        mailbox_id=mailbox.id,
        modseq=modseq,
        unchanged_since=change.unchanged_since,
        **values,
    )
    modified: list[int] = row.modified or []
    if row.most_flags > MAX_FLAGS:
        raise Refused(f"a message has at most {MAX_FLAGS} flags")
    if not row.messages:
        return FlagsStored(modseq=mailbox.highest_modseq, modified=modified)
    await count(connection, account_id, mailbox.id, modseq, unseen=int(row.unseen))
    return FlagsStored(modseq=modseq, modified=modified)


def _permitted(flags: list[str], operation: str, rights: Right) -> list[str]:
    """Those that may be changed. Raises NotPermitted: none of them, or nothing at all."""
    found = changeable(flags, rights)
    if not found and (flags or not rights & CHANGING or operation != "replace"):
        raise NotPermitted("none of these flags may be changed here")
    return found
