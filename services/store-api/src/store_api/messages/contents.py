"""Contents of messages: what was parsed at ingest, and the octets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, Refused, Unavailable
from store_api.blobs.storage import Blobs
from store_api.db.engine import Database, run

log = structlog.get_logger()

MAX_BLOBS: Final = 10_000
# Bodies that are read ahead of the one being sent: bounds memory, hides the storage's latency.
READ_AHEAD: Final = 4

# A blob is readable through a message of the account, or not at all.
_READABLE: Final = "EXISTS (SELECT 1 FROM message m WHERE m.blob_id = b.id AND m.account_id = :account_id)"

_SUMMARIES: Final = f"""
SELECT b.summary FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n) JOIN blob b ON b.id = t.id
WHERE {_READABLE} ORDER BY n
"""

_PLACES: Final = f"""
SELECT b.id, b.object_key, b.object_offset, b.length, b.sha256
FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n) JOIN blob b ON b.id = t.id
WHERE {_READABLE} ORDER BY n
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the octets of a blob are."""

    blob_id: UUID
    object_key: str
    object_offset: int
    length: int
    sha256: bytes


async def summaries(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> list[bytes]:
    """Encoded `wire.Summary` values in the order asked; those that aren't the account's are left out."""
    _check_number(blob_ids)
    async with database.transaction() as connection:
        return list((await run(connection, _SUMMARIES, account_id=account_id, ids=list(blob_ids))).scalars())


async def places(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> list[Place]:
    """In the order asked. Raises NotFound: one isn't the account's."""
    _check_number(blob_ids)
    async with database.transaction() as connection:
        rows = await run(connection, _PLACES, account_id=account_id, ids=list(blob_ids))
        found = [Place(*row) for row in rows]
    if len(found) != len(blob_ids):
        raise NotFound("a message is gone")
    return found


def _check_number(blob_ids: Sequence[UUID]) -> None:
    if len(blob_ids) > MAX_BLOBS:
        raise Refused(f"at most {MAX_BLOBS} blobs in one request")


async def transmission_place(connection: AsyncConnection, transmission_id: UUID) -> Place:
    """Where the message of a transmission is. Raises NotFound."""
    row = (
        await run(
            connection,
            "SELECT b.id, b.object_key, b.object_offset, b.length, b.sha256"
            " FROM transmission t JOIN blob b ON b.id = t.blob_id WHERE t.id = :id",
            id=transmission_id,
        )
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such transmission")
    return Place(*row)


async def read(blobs: Blobs, place: Place) -> bytes:
    """The octets, checked against their checksum. Raises NotFound, Unavailable."""
    octets = await blobs.read(place.object_key, place.object_offset, place.length)
    if hashlib.sha256(octets).digest() != place.sha256:
        log.error("blob_damaged", blob_id=str(place.blob_id), object_key=place.object_key)
        raise Unavailable("the stored message is damaged")
    return octets


async def read_all(blobs: Blobs, wanted: Sequence[Place]) -> AsyncIterator[bytes]:
    """The octets of each in order, a few read ahead. Raises NotFound, Unavailable."""
    reading: list[asyncio.Task[bytes]] = []
    ahead = iter(wanted)
    try:
        for _ in wanted:
            while len(reading) < READ_AHEAD and (place := next(ahead, None)) is not None:
                reading.append(asyncio.create_task(read(blobs, place)))
            yield await reading.pop(0)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
