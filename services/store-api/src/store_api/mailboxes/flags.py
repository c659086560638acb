"""Changing flags (RFC 9051 §6.4.6, RFC 7162 §3.1.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import FlagsStored, Mailbox, StoreFlags
from store_api.db.engine import Database, run
from store_api.mailboxes.rows import count, lock

SYSTEM_FLAGS: Final = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")}
MAX_FLAGS: Final = 100
MAX_FLAG_LENGTH: Final = 200
# flag-keyword = atom: no controls, no space, none of ( ) { % * " \ ] (RFC 9051 §9)
_KEYWORD: Final = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')


def canonical_flags(flags: Iterable[str]) -> list[str]:
    """System flags in their usual spelling, no flag twice whatever its case (RFC 9051 §2.3.2).

    \\Recent can't be set and is dropped. Raises Refused: not a flag, or too many.
    """
    kept: dict[str, str] = {}
    for flag in flags:
        lower = flag.lower()
        if lower == "\\recent":
            continue
        if lower not in SYSTEM_FLAGS and (not _KEYWORD.fullmatch(flag) or len(flag) > MAX_FLAG_LENGTH):
            raise Refused(f"{flag[:40]!r} is not a flag")
        kept.setdefault(lower, SYSTEM_FLAGS.get(lower, flag))
    if len(kept) > MAX_FLAGS:
        raise Refused(f"a message has at most {MAX_FLAGS} flags")
    return list(kept.values())


_NEW_FLAGS: Final = {
    "add": "flags || ARRAY(SELECT f FROM unnest(CAST(:flags AS text[])) AS f"
    " WHERE lower(f) NOT IN (SELECT lower(x) FROM unnest(flags) AS x))",
    "remove": "ARRAY(SELECT x FROM unnest(flags) AS x"
    " WHERE lower(x) NOT IN (SELECT lower(f) FROM unnest(CAST(:flags AS text[])) AS f))",
    "replace": "CAST(:flags AS text[])",
}

_STORE: Final = """
WITH candidate AS (
    SELECT uid, flags AS old, {new} AS new
    FROM message
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid = ANY (CAST(:uids AS bigint[]))
      AND (CAST(:unchanged_since AS bigint) IS NULL OR modseq <= :unchanged_since)
), changed AS (
    UPDATE message SET flags = candidate.new, modseq = :modseq
    FROM candidate
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND message.uid = candidate.uid
      AND NOT (candidate.old @> candidate.new AND candidate.new @> candidate.old)
    RETURNING CAST('\\Seen' = ANY (candidate.old) AS integer)
            - CAST('\\Seen' = ANY (candidate.new) AS integer) AS unseen
)
SELECT count(*) AS messages, coalesce(sum(unseen), 0) AS unseen FROM changed
"""

_MODIFIED: Final = """
SELECT uid FROM message
WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid = ANY (CAST(:uids AS bigint[]))
  AND modseq > :unchanged_since
ORDER BY uid
"""


async def store_flags(database: Database, account_id: UUID, mailbox_id: UUID, change: StoreFlags) -> FlagsStored:
    """Change the flags of those messages that are there. Raises NotFound: the mailbox. Refused: a bad flag."""
    async with database.transaction() as connection:
        mailbox = (await lock(connection, account_id, [mailbox_id]))[mailbox_id]
        return await store_flags_locked(connection, account_id, mailbox, change)


async def store_flags_locked(
    connection: AsyncConnection, account_id: UUID, mailbox: Mailbox, change: StoreFlags
) -> FlagsStored:
    """In a mailbox that the transaction has locked. Raises Refused: a bad flag."""
    flags = canonical_flags(change.flags)
    mailbox_id = mailbox.id
    modified: list[int] = []
    if change.unchanged_since is not None:
        refused = await run(
            connection,
            _MODIFIED,
            account_id=account_id,
            mailbox_id=mailbox_id,
            uids=change.uids,
            unchanged_since=change.unchanged_since,
        )
        modified = list(refused.scalars())
    modseq = mailbox.highest_modseq + 1
    changed = (
        await run(
            connection,
            _STORE.format(new=_NEW_FLAGS[change.operation]),
            account_id=account_id,
            mailbox_id=mailbox_id,
            uids=change.uids,
            flags=flags,
            modseq=modseq,
            unchanged_since=change.unchanged_since,
        )
    ).one()
    if not changed.messages:
        return FlagsStored(modseq=mailbox.highest_modseq, modified=modified)
    await count(connection, account_id, mailbox_id, modseq, unseen=int(changed.unseen))
    return FlagsStored(modseq=modseq, modified=modified)
