"""What messages are sorted and threaded by: from the index, or from the header kept in the summary.

And what is searched most of a header, for frontends that look themselves.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.message.search_text import SearchText
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import Summary
from mail_runtime.contracts.store.search import HeaderFields
from store_api.db.engine import Database, run
from store_api.messages.contents import MAX_BLOBS, summaries
from store_api.search.fields import Fields, read_fields

_NO_TEXT: Final = SearchText()
# References have no white space in them, so they travel as one text: arrays of different lengths can't be aggregated.
_EXPRESSIONS: Final = {"refs": "array_to_string(f.refs, ' ')"}
_OF_MESSAGE: Final = {"octets": "m.octets"}
# Of many uids it takes 95 ms of CPU to look for 100,000 of them, half of it to plan that. Where at least every second
# one between the first and the last is wanted, all between them are read, and the others passed over.
DENSE: Final = 2
_AMONG: Final = "m.uid = ANY (CAST(:uids AS bigint[]))"
_BETWEEN: Final = "m.uid BETWEEN :first AND :last"
# What is joined and sorted stays in memory.
_TUNE: Final = "SELECT set_config('work_mem', '64MB', true)"

_HEADER_FIELDS: Final = """
SELECT blob_id, "subject", "from", "to", "cc", "bcc", sent_day FROM message_field
WHERE account_id = :account_id AND blob_id = ANY (CAST(:blobs AS uuid[]))
"""


async def header_fields(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> list[HeaderFields]:
    """Of an account's messages, in any order; those that aren't indexed are left out. Raises Refused, Unavailable."""
    if len(blob_ids) > MAX_BLOBS:
        raise Refused(f"at most {MAX_BLOBS} blobs in one request")
    rows = await database.fetch(_HEADER_FIELDS, account_id=account_id, blobs=list(blob_ids))
    return [
        HeaderFields(blob_id=blob_id, subject=subject, from_=from_, to=to, cc=cc, bcc=bcc, sent_day=sent_day)
        for blob_id, subject, from_, to, cc, bcc, sent_day in rows
    ]


@dataclass(frozen=True, slots=True)
class Keys:
    """Messages as parallel columns, by uid. `values`: a column for each name asked for, in their order.

    What takes long with 100,000 messages is making objects of them.
    """

    uids: list[int]
    internal_dates: list[int]
    values: list[list[Any]]


async def read_keys(
    database: Database, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> Keys:
    """Of the messages that are still there. `columns` are names of `Fields`, or `octets`. Raises Unavailable."""
    async with database.transaction() as connection:
        read = await _columns(connection, account_id, mailbox_id, uids, columns)
    numbers, internal_dates, *values, unread_uids, unread_blobs = read
    left_out: set[int] = set()
    if numbers != uids:  # more were read, or some are gone
        wanted = set(uids)
        left_out = {place for place, uid in enumerate(numbers) if uid not in wanted}
    unread = {bisect_left(numbers, uid): blob for uid, blob in zip(unread_uids, unread_blobs, strict=True)}
    unread = {place: blob for place, blob in unread.items() if place not in left_out}
    fields = await _unindexed(database, account_id, list(set(unread.values())))
    for place, blob_id in unread.items():
        if (found := fields.get(blob_id)) is None:
            left_out.add(place)
        else:
            for name, column in zip(columns, values, strict=True):
                if name not in _OF_MESSAGE:
                    column[place] = _value(found, name)
    kept = [_without(column, left_out) for column in (numbers, internal_dates, *values)]
    return Keys(kept[0], kept[1], kept[2:])


def _without(column: list[Any], places: Collection[int]) -> list[Any]:
    return [value for place, value in enumerate(column) if place not in places] if places else column


def _value(fields: Fields, name: str) -> Any:
    return " ".join(fields.refs) if name == "refs" else getattr(fields, name)


async def _columns(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> list[list[Any]]:
    """Uids, dates of arrival, these columns; then the uids of those that aren't indexed, and their blobs.

    There may be more messages than asked for.
    """
    named = [_OF_MESSAGE.get(name) or _EXPRESSIONS.get(name, f"f.{name}") for name in columns]
    ordered = [f"array_agg({expression} ORDER BY m.uid)" for expression in ("m.uid", "m.internal_date", *named)]
    fields, unindexed = "", "FILTER (WHERE FALSE)"
    if not _OF_MESSAGE.keys() >= set(columns):
        fields = "LEFT JOIN message_field f ON f.account_id = m.account_id AND f.blob_id = m.blob_id"
        unindexed = "FILTER (WHERE f.blob_id IS NULL)"
    ordered += [f"array_agg({column} ORDER BY m.uid) {unindexed}" for column in ("m.uid", "m.blob_id")]
    first, last = (uids[0], uids[-1]) if uids else (1, 0)
    is_dense = last - first < DENSE * len(uids)
    statement = f"""
    SELECT {", ".join(ordered)} FROM message m {fields}
    WHERE m.account_id = :account_id AND m.mailbox_id = :mailbox_id
      AND {_BETWEEN if is_dense else _AMONG}
    """
    values = {"first": first, "last": last} if is_dense else {"uids": list(uids)}
    await run(connection, _TUNE)
    arrays = (await run(connection, statement, account_id=account_id, mailbox_id=mailbox_id, **values)).one()
    return [array or [] for array in arrays]


async def _unindexed(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> dict[UUID, Fields]:
    found: dict[UUID, Fields] = {}
    for at in range(0, len(blob_ids), MAX_BLOBS):
        kept = await summaries(database, account_id, blob_ids[at : at + MAX_BLOBS])
        found.update(await asyncio.to_thread(lambda kept=kept: dict(_read(kept))))  # type: ignore[misc]
    return found


def _read(kept: Iterable[bytes]) -> Iterator[tuple[UUID, Fields]]:
    for octets in kept:
        summary = msgspec.msgpack.decode(octets, type=Summary)
        yield summary.blob_id, read_fields(summary.header, _NO_TEXT)
