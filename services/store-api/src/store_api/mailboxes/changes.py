"""What changed in a mailbox: columns, each answer read in one statement and so from one snapshot."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from functools import partial
from sys import byteorder
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Changes, Columns
from mail_runtime.contracts.store.columns import changes_of
from mail_runtime.contracts.store.uids import MAX_UID, compact
from store_api.db.engine import Database, Row, fetch
from store_api.mailboxes.kept import KeptMailboxes, patched
from store_api.mailboxes.reaching import reach
from store_api.mailboxes.rights import Right
from store_api.mailboxes.rows import COLUMNS, to_mailbox

# A block is 128 uids: `uid >> BLOCK_BITS`, as the trigger has it (migration 0025).
BLOCK_BITS: Final = 7

# The words of contracts.store.Columns, joined by the database: 100,000 rows become one value, not as many objects.
WORDS: Final = """
string_agg(int8send(uid) || int8send(modseq) || int8send(internal_date) || int8send(octets) || uuid_send(blob_id),
           CAST('' AS bytea)) AS words,
string_agg(array_to_string(flags, ' '), chr(10)) AS flags
"""
_OBJECTS: Final = """
string_agg(int8send(saved_date) || uuid_send(email_id)
           || uuid_send(coalesce(thread_id, '00000000-0000-0000-0000-000000000000')), CAST('' AS bytea)) AS objects
"""
_MESSAGE: Final = "uid, modseq, internal_date, octets, blob_id, flags, saved_date, email_id, thread_id"

# The aggregates keep the order of their subquery: that of the primary key.
_WHOLE: Final = f"""
SELECT {COLUMNS}, c.*, CAST(NULL AS bigint[]) AS gone
FROM mailbox
CROSS JOIN LATERAL (
    SELECT {WORDS}, {{objects}}
    FROM (SELECT {_MESSAGE} FROM message
          WHERE account_id = :account_id AND mailbox_id = :mailbox_id ORDER BY uid) AS m
) AS c
WHERE account_id = :account_id AND id = :mailbox_id
"""

# Uids ascend with time: what came since is above the last message that is as it was. What changed below is in blocks of
# uids whose modseq says so (`changed_block`, kept by a trigger). `OFFSET 0` and the upper end of uids are for the
# planner, who doesn't know how little a modseq leaves, and would read the table.
_SINCE: Final = f"""
SELECT {COLUMNS}, :since < purged_modseq AS is_too_old, c.*, e.gone
FROM mailbox
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT uid FROM message
                     WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq <= :since
                     ORDER BY uid DESC LIMIT 1), 0) AS last
    OFFSET 0
) AS old
CROSS JOIN LATERAL (
    SELECT {WORDS}, {{objects}}
    FROM (SELECT * FROM (
              SELECT m.* FROM (SELECT block << {BLOCK_BITS} AS first FROM changed_block
                               WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq > :since
                               OFFSET 0) AS b
              CROSS JOIN LATERAL (
                  SELECT {_MESSAGE} FROM message
                  WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq > :since
                    AND uid BETWEEN b.first AND least(b.first + {(1 << BLOCK_BITS) - 1}, old.last)
                  OFFSET 0
              ) AS m
              UNION ALL
              (SELECT {_MESSAGE} FROM message
               WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid BETWEEN old.last + 1 AND {MAX_UID}
               ORDER BY uid OFFSET 0)
          ) AS recent
          ORDER BY uid) AS m
) AS c
CROSS JOIN LATERAL (
    SELECT array_agg(uid ORDER BY uid) AS gone FROM expunged
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq > :since
) AS e
WHERE account_id = :account_id AND id = :mailbox_id
"""


async def columns(
    database: Database,
    account_id: UUID,
    mailbox_id: UUID,
    since: int,
    *,
    with_objects: bool = False,
    kept: KeptMailboxes | None = None,
) -> Columns:
    """What changed after modseq `since`; the whole mailbox for 0, and when tombstones after it are gone already.

    `kept` saves reading whole mailboxes anew. Of another's mailbox it takes the right `r`. Raises NotFound,
    NotPermitted.
    """
    try:
        return await _columns(database, account_id, mailbox_id, since, with_objects=with_objects, kept=kept)
    except NotFound:
        async with database.transaction() as connection:
            there = await reach(connection, account_id, mailbox_id, Right.READ)
    found = await _columns(database, there.owner_id, mailbox_id, since, with_objects=with_objects, kept=kept)
    return msgspec.structs.replace(found, mailbox=there.shown(found.mailbox))


async def _columns(
    database: Database,
    account_id: UUID,
    mailbox_id: UUID,
    since: int,
    *,
    with_objects: bool,
    kept: KeptMailboxes | None,
) -> Columns:
    if kept is None or since > 0 or with_objects:
        return await _read(database, account_id, mailbox_id, since, with_objects=with_objects)
    whole: Columns | None = None
    if (old := kept.get(account_id, mailbox_id)) is not None:
        recent = await _read(database, account_id, mailbox_id, old.mailbox.highest_modseq)
        whole = recent if recent.is_whole else patched(old, recent)
    if whole is None:
        whole = await _read(database, account_id, mailbox_id, 0)
    kept.put(account_id, whole)
    return whole


async def _read(
    database: Database, account_id: UUID, mailbox_id: UUID, since: int, *, with_objects: bool = False
) -> Columns:
    """Each statement is a transaction by itself."""
    return await _asked(database.fetch, account_id, mailbox_id, since, with_objects=with_objects)


async def read_columns(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, since: int, *, with_objects: bool = False
) -> Columns:
    """Of a mailbox of the account's own, as the transaction sees it. Raises NotFound."""
    return await _asked(partial(fetch, connection), account_id, mailbox_id, since, with_objects=with_objects)


async def _asked(
    ask: Callable[..., Awaitable[list[Row]]], account_id: UUID, mailbox_id: UUID, since: int, *, with_objects: bool
) -> Columns:
    values = {"account_id": account_id, "mailbox_id": mailbox_id}
    objects = _OBJECTS if with_objects else "CAST(NULL AS bytea) AS objects"
    rows: list[Row] = []
    if since > 0:
        rows = await ask(_SINCE.format(objects=objects), **values, since=since)
    is_whole = since <= 0 or (bool(rows) and rows[0].is_too_old)
    if is_whole:
        rows = await ask(_WHOLE.format(objects=objects), **values)
    if not rows:
        raise NotFound("there is no such mailbox")
    [row] = rows
    flag_sets, flags = numbered(row.flags)
    return Columns(
        mailbox=to_mailbox(row),
        is_whole=is_whole,
        words=row.words or b"",
        flag_sets=flag_sets,
        flags=flags,
        expunged=compact(row.gone or []),
        objects=row.objects or b"",
    )


def numbered(joined: str | None) -> tuple[list[list[str]], bytes]:
    """Sets of flags, a line each, as the different ones and the number of each line in network order."""
    if joined is None:
        return [], b""
    numbers: dict[str, int] = {}
    column = array("I", [numbers.setdefault(line, len(numbers)) for line in joined.split("\n")])
    if byteorder == "little":
        column.byteswap()
    return [line.split() for line in numbers], column.tobytes()


async def changes(database: Database, account_id: UUID, mailbox_id: UUID, since: int) -> Changes:
    """`columns` as lists, for frontends of the release before. Raises NotFound."""
    return changes_of(await columns(database, account_id, mailbox_id, since))
