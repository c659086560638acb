"""What messages are sorted and threaded by: from the index, or from the header kept in the summary.

And what is searched most of a header, for frontends that look themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.message.search_text import SearchText
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import Summary
from mail_runtime.contracts.store.search import HeaderFields
from store_api.db.engine import Database
from store_api.messages.contents import MAX_BLOBS, summaries
from store_api.search.fields import Fields, read_fields

_NO_TEXT: Final = SearchText()
# References have no white space in them, so they travel as one text: arrays of different lengths can't be aggregated.
_EXPRESSIONS: Final = {"refs": "array_to_string(f.refs, ' ')"}

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
    octets: list[int]
    values: list[list[Any]]


async def read_keys(
    database: Database, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> Keys:
    """Of the messages that are still there. `columns` are names of `Fields`. Raises Unavailable."""
    async with database.transaction() as connection:
        read = await _columns(connection, account_id, mailbox_id, uids, columns)
    numbers, internal_dates, octets, *rest = read
    if not rest:  # nothing that would have to be in the index
        return Keys(numbers, internal_dates, octets, [])
    blob_ids, are_indexed, *values = rest
    unread = [place for place, is_indexed in enumerate(are_indexed) if not is_indexed]
    fields = await _unindexed(database, account_id, list({blob_ids[place] for place in unread}))
    gone = set()
    for place in unread:
        if (found := fields.get(blob_ids[place])) is None:
            gone.add(place)
        else:
            for column, value in zip(values, _values(found, columns), strict=True):
                column[place] = value
    kept = [_without(column, gone) for column in (numbers, internal_dates, octets, *values)]
    return Keys(kept[0], kept[1], kept[2], kept[3:])


def _without(column: list[Any], places: Collection[int]) -> list[Any]:
    return [value for place, value in enumerate(column) if place not in places] if places else column


def _values(fields: Fields, columns: Sequence[str]) -> Iterator[Any]:
    for name in columns:
        yield " ".join(fields.refs) if name == "refs" else getattr(fields, name)


async def _columns(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> list[list[Any]]:
    """Uids, dates of arrival, octets; for any `columns` also blobs, whether they are indexed, and those columns."""
    expressions, fields = ["m.uid", "m.internal_date", "m.octets"], ""
    if columns:
        named = [_EXPRESSIONS.get(name, f"f.{name}") for name in columns]
        expressions += ["m.blob_id", "f.blob_id IS NOT NULL", *named]
        fields = "LEFT JOIN message_field f ON f.account_id = m.account_id AND f.blob_id = m.blob_id"
    statement = f"""
    SELECT {", ".join(f"array_agg({expression} ORDER BY m.uid)" for expression in expressions)}
    FROM message m {fields}
    WHERE m.account_id = :account_id AND m.mailbox_id = :mailbox_id AND m.uid = ANY (CAST(:uids AS bigint[]))
    """
    values = {"account_id": account_id, "mailbox_id": mailbox_id, "uids": list(uids)}
    arrays = (await connection.execute(text(statement), values)).one()
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
