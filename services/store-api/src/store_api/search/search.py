"""Finding messages: those that are indexed by SQL, the others by reading them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text as sql_text
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.store import search as wire
from store_api.blobs import places, reading
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.mailboxes.mailboxes import read_mailbox
from store_api.mailboxes.reaching import reach
from store_api.mailboxes.rights import Right
from store_api.search import coverage, sort, threads
from store_api.search.compile import Compiler, clues_of, is_joined, needs_index
from store_api.search.contents import Contents, Reading
from store_api.search.evaluate import Message, matches
from store_api.search.few import find_among_few
from store_api.search.keys import read_keys
from store_api.search.parsing import VERSION, parse
from store_api.search.vocabulary import find_words

# Ours: a needle of a client is a few words.
MAX_NEEDLE: Final = 4_000
# Messages that aren't indexed are read so many at a time, by all searches of the process together.
READERS: Final = 8
_BATCH: Final = 200
# Texts that a statement looks into: 11 µs for each of 3 KB, several times that on a busy machine, and a statement has
# `db.engine.STATEMENT_TIMEOUT_S`.
PIECE: Final = 20_000

_readers: Final = asyncio.Semaphore(READERS)

# Sequential scans are what the planner takes for many hits, unaware that it would fetch the words of each message from
# outside of its row: bitmaps of the index take a fiftieth of the time. Results of subqueries are hashed, however many
# messages they name: 48 octets for each.
# What has numbers is found by bitmaps of the index or not at all: else Postgres reads the numbers of each message.
_TUNE_FOR_NUMBERS: Final = (
    "SELECT set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true)"
)
# Fields beside numbers: all of the account are read in one go, not a bitmap for each message.
_TUNE_FOR_BOTH: Final = "SELECT set_config('enable_nestloop', 'off', true)"
# Rows of fields are read where they stand: what asks for no words is scanned in half the time in sequence.
_TUNE: Final = "SELECT set_config('enable_seqscan', 'off', true), set_config('work_mem', '64MB', true)"
_TUNE_FOR_FIELDS: Final = "SELECT set_config('enable_seqscan', 'on', true)"

# Rows of `message_text` are narrow, and come and go with those of `message_field`.
_INDEXED: Final = "EXISTS (SELECT 1 FROM message_text t WHERE t.account_id = m.account_id AND t.blob_id = m.blob_id)"
_SCOPE: Final = """m.account_id = :account_id AND (CAST(:mailbox_id AS uuid) IS NULL OR m.mailbox_id = :mailbox_id)"""
_COLUMNS: Final = """m.mailbox_id, m.uid, m.modseq, m.flags, m.internal_date, m.saved_date, m.email_id, m.thread_id,
m.octets, m.blob_id"""


# Of the account, as far as it matters: numbers of another's may be among those looked for.
_CANDIDATES: Final = """
WITH candidate AS MATERIALIZED ({candidates})
SELECT array_agg(blob_id ORDER BY blob_id) FROM candidate
WHERE blob_id IN (SELECT m.blob_id FROM message m WHERE {scope})
"""
_CANDIDATE: Final = "SELECT t.blob_id FROM message_text t WHERE "
_READ: Final = """
SELECT array_agg(t.blob_id) FROM message_text t
WHERE t.account_id = :account_id AND t.blob_id = ANY (CAST(:piece AS uuid[])) AND {found}
"""


_HAS_OLD: Final = "SELECT EXISTS (SELECT 1 FROM message_text WHERE account_id = :account_id AND version < :version)"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked about the messages found, as one row: what takes long with many hits is making rows of them.

    `sql` with {messages} behind FROM, where m is `message`, and {where}.
    """

    sql: str
    values: Mapping[str, Any] = field(default_factory=dict)


_UIDS: Final = Statement("SELECT array_agg(m.uid ORDER BY m.uid), max(m.modseq) FROM {messages} WHERE {where}")


async def find_uids(
    database: Database, blobs: Blobs, account_id: UUID, mailbox_id: UUID, key: wire.SearchKey
) -> tuple[list[int], int]:
    """(uids of a mailbox, ascending; the highest modseq among them, 0 for none).

    Raises NotFound: the mailbox. Refused: the program is too large. Unavailable.
    """
    check(key)
    found = await find_among_few(database, account_id, mailbox_id, key, int(time.time()))
    return found or await find_among_many(database, blobs, account_id, mailbox_id, key)


async def find_among_many(
    database: Database, blobs: Blobs, account_id: UUID, mailbox_id: UUID, key: wire.SearchKey
) -> tuple[list[int], int]:
    """The same, however many messages there are, and whether they are indexed."""
    (uids, modseq), others = await find(database, blobs, account_id, mailbox_id, key, _UIDS)
    found = sorted([*(uids or ()), *(row.uid for row in others)]) if others else list(uids or ())
    return found, max([modseq or 0, *(row.modseq for row in others)])


async def find(
    database: Database,
    blobs: Blobs,
    account_id: UUID,
    mailbox_id: UUID | None,
    key: wire.SearchKey,
    statement: Statement,
) -> tuple[Any, list[Any]]:
    """The row that the statement gives of what the index finds; and rows of `_COLUMNS` of what was read beside it.

    In a mailbox, or in the whole account. Raises as `find_uids` does.
    """
    check(key)
    now = int(time.time())
    unindexed: Sequence[Any] = []
    covered = coverage.Coverage({}, [])
    async with database.transaction() as connection:
        if mailbox_id is not None:
            await read_mailbox(connection, account_id, mailbox_id)
        await run(connection, _TUNE)
        if needs_index(key):
            covered = await coverage.look(connection, account_id, mailbox_id)
            unindexed = await _unindexed(connection, account_id, covered.gaps, key, now)
        found = await _by_index(connection, account_id, mailbox_id, key, now, statement, unindexed)
    if covered.news:
        async with database.transaction() as connection:
            await coverage.remember(connection, account_id, covered)
    others = [row for row in unindexed if row.decided]
    others += await _by_reading(database, blobs, key, [row for row in unindexed if not row.decided], now)
    return found, others


def check(key: wire.SearchKey) -> None:
    """Raises Refused: too many keys, too deep, too long a text."""
    if not wire.is_bounded(key):
        raise Refused(f"a search has at most {wire.MAX_KEYS} keys, {wire.MAX_DEPTH} deep")
    for inner, _ in wire.walk(key):
        if isinstance(inner, wire.InHeader | wire.InText) and len(inner.text) > MAX_NEEDLE:
            raise Refused(f"a text to search for has at most {MAX_NEEDLE} characters")


async def _by_index(
    connection: AsyncConnection,
    account_id: UUID,
    mailbox_id: UUID | None,
    key: wire.SearchKey,
    now: int,
    wanted: Statement,
    apart: Sequence[Any],
) -> Any:
    """The row that the statement gives."""
    by_old = is_joined(key) and await _has_old(connection, account_id)
    ids = await find_words(connection, account_id, clues_of(key, by_old=by_old))
    compiler = Compiler(lambda bind: Contents(account_id, ids, bind, by_old=by_old), now)
    where = compiler.whole(key)
    fields = "LEFT JOIN message_field f ON f.account_id = m.account_id AND f.blob_id = m.blob_id"
    # Of a message without index SQL takes contents for empty; where that makes a difference, it is decided elsewhere.
    others = "m.blob_id NOT IN (SELECT unnest(CAST(:apart AS uuid[])))" if apart else "TRUE"
    values = {"account_id": account_id, "mailbox_id": mailbox_id, **compiler.values}
    await run(connection, _TUNE_FOR_NUMBERS if compiler.uses_texts else _TUNE_FOR_FIELDS)
    if compiler.uses_texts and compiler.uses_fields:
        await run(connection, _TUNE_FOR_BOTH)
    for looked in compiler.readings:
        values[looked.name] = await _looked_into(connection, looked, compiler.bounds, values)
    sql = wanted.sql.format(
        messages=f"message m {fields if compiler.uses_fields else ''}",
        where=f"{_SCOPE} AND {others} AND {where}",
    )
    values |= {**wanted.values, **({"apart": [row.blob_id for row in apart]} if apart else {})}
    return (await connection.execute(sql_text(sql), values)).one()


async def _has_old(connection: AsyncConnection, account_id: UUID) -> bool:
    """Whether messages were indexed by code that knew less; the walk of the indexer does them anew."""
    rows = await run(connection, _HAS_OLD, account_id=account_id, version=VERSION)
    return bool(rows.scalar_one())


async def _looked_into(
    connection: AsyncConnection, wanted: Reading, bounds: Sequence[str], values: Mapping[str, Any]
) -> list[UUID]:
    """The blobs whose texts have it, as far as they are within the search and its bounds."""
    candidates = " UNION ".join(_CANDIDATE + where for where in wanted.candidates)
    statement = _CANDIDATES.format(candidates=candidates, scope=" AND ".join([_SCOPE, *bounds]))
    blob_ids = (await connection.execute(sql_text(statement), values)).scalar_one() or []
    read = sql_text(_READ.format(found=wanted.found))
    found: list[UUID] = []
    for at in range(0, len(blob_ids), PIECE):
        piece = blob_ids[at : at + PIECE]
        found += (await connection.execute(read, {**values, "piece": piece})).scalar_one() or ()
    return found


async def _unindexed(
    connection: AsyncConnection, account_id: UUID, gaps: Mapping[UUID, int], key: wire.SearchKey, now: int
) -> Sequence[Any]:
    """Messages without index that may be meant; `decided`: they are, whatever is in them.

    `gaps`: the mailboxes that have some, and from which uid on.
    """
    if not gaps:
        return []
    compiler = Compiler(None, now)
    where = compiler.expression(key)
    statement = f"""
    SELECT {_COLUMNS}, coalesce({where}, FALSE) AS decided
    FROM unnest(CAST(:gaps AS uuid[]), CAST(:firsts AS bigint[])) AS gap (mailbox_id, uid)
    JOIN message m ON m.account_id = :account_id AND m.mailbox_id = gap.mailbox_id AND m.uid >= gap.uid
    WHERE NOT {_INDEXED} AND ({where}) IS NOT FALSE
    """
    values = {"account_id": account_id, "gaps": list(gaps), "firsts": list(gaps.values()), **compiler.values}
    return (await connection.execute(sql_text(statement), values)).all()


async def _by_reading(
    database: Database, blobs: Blobs, key: wire.SearchKey, rows: Sequence[Any], now: int
) -> list[Any]:
    """Those of the rows whose messages match."""
    matching: list[Any] = []
    for at in range(0, len(rows), _BATCH):
        batch = rows[at : at + _BATCH]
        async with database.transaction() as connection:
            where = await places.find(connection, [row.blob_id for row in batch])
        results = await asyncio.gather(
            *(_read_matches(blobs, where.get(row.blob_id), key, row, now) for row in batch), return_exceptions=True
        )
        for row, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            if result:
                matching.append(row)
    return matching


async def _read_matches(blobs: Blobs, place: places.Place | None, key: wire.SearchKey, row: Any, now: int) -> bool:
    if place is None:
        return False  # expunged meanwhile
    try:
        async with _readers, reading.loaded(blobs, place) as octets:
            return await asyncio.to_thread(_octets_match, octets, key, row, now)
    except NotFound:
        return False


def _octets_match(octets: bytes, key: wire.SearchKey, row: Any, now: int) -> bool:
    text, fields = parse(octets)
    message = Message(
        mailbox_id=row.mailbox_id,
        uid=row.uid,
        modseq=row.modseq,
        flags=row.flags,
        internal_date=row.internal_date,
        saved_date=row.saved_date,
        email_id=row.email_id,
        thread_id=row.thread_id,
        octets=row.octets,
        text=text,
        fields=fields,
    )
    return matches(key, message, now)


async def search(
    database: Database, blobs: Blobs, account_id: UUID, mailbox_id: UUID, wanted: wire.Search
) -> wire.Found:
    """What a frontend asks of a mailbox; of another's with the right `r`.

    Raises NotFound, NotPermitted, Refused, Unavailable.
    """
    try:
        uids, modseq = await find_uids(database, blobs, account_id, mailbox_id, wanted.key)
    except NotFound:
        async with database.transaction() as connection:
            account_id = (await reach(connection, account_id, mailbox_id, Right.READ)).owner_id
        uids, modseq = await find_uids(database, blobs, account_id, mailbox_id, wanted.key)
    if wanted.thread is not None:
        keys = await read_keys(database, account_id, mailbox_id, uids, threads.COLUMNS)
        members, depths = await asyncio.to_thread(threads.forest, keys, wanted.thread)
        return wire.Found(uids=wire.pack_numbers(members), modseq=modseq, depths=wire.pack_numbers(depths))
    if wanted.sort:
        keys = await read_keys(database, account_id, mailbox_id, uids, sort.columns(wanted.sort))
        uids = await asyncio.to_thread(sort.sorted_uids, keys, wanted.sort)
    return wire.Found(uids=wire.pack_numbers(uids), modseq=modseq)
