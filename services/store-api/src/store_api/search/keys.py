"""What messages are sorted and threaded by: from the index, or from the header kept in the summary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.message.search_text import SearchText
from mail_runtime.contracts.store import Summary
from store_api.db.engine import Database
from store_api.messages.contents import MAX_BLOBS, summaries
from store_api.search.fields import Fields, read_fields

_NO_TEXT: Final = SearchText()
# References have no white space in them, so they travel as one text: arrays of different lengths can't be aggregated.
_EXPRESSIONS: Final = {"refs": "array_to_string(f.refs, ' ')"}


@dataclass(frozen=True, slots=True)
class Keys:
    """One message. `values`: of the columns asked for, in their order."""

    uid: int
    internal_date: int
    octets: int
    values: tuple[Any, ...]


async def read_keys(
    database: Database, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> list[Keys]:
    """Of the messages that are still there, by uid. `columns` are names of `Fields`. Raises Unavailable."""
    async with database.transaction() as connection:
        rows = await _columns(connection, account_id, mailbox_id, uids, columns)
    missing = list({blob_id for _, _, _, blob_id, is_indexed, *_ in rows if not is_indexed})
    fields = await _unindexed(database, account_id, missing)
    return [
        Keys(uid, internal_date, octets, tuple(values) if is_indexed else _values(fields[blob_id], columns))
        for uid, internal_date, octets, blob_id, is_indexed, *values in rows
        if is_indexed or blob_id in fields
    ]


def _values(fields: Fields, columns: Sequence[str]) -> tuple[Any, ...]:
    values = {**{name: getattr(fields, name) for name in columns}}
    if "refs" in values:
        values["refs"] = " ".join(fields.refs)
    return tuple(values[name] for name in columns)


async def _columns(
    connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, uids: Sequence[int], columns: Sequence[str]
) -> list[tuple[Any, ...]]:
    named = [_EXPRESSIONS.get(name, f"f.{name}") for name in columns]
    expressions = ["m.uid", "m.internal_date", "m.octets", "m.blob_id", "f.blob_id IS NOT NULL", *named]
    # Columns as arrays: what takes long with many messages is making rows of them.
    statement = f"""
    SELECT {", ".join(f"array_agg({expression} ORDER BY m.uid)" for expression in expressions)}
    FROM message m LEFT JOIN message_field f ON f.account_id = m.account_id AND f.blob_id = m.blob_id
    WHERE m.account_id = :account_id AND m.mailbox_id = :mailbox_id AND m.uid = ANY (CAST(:uids AS bigint[]))
    """
    values = {"account_id": account_id, "mailbox_id": mailbox_id, "uids": list(uids)}
    arrays = (await connection.execute(text(statement), values)).one()
    return list(zip(*arrays, strict=True)) if arrays[0] else []


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
