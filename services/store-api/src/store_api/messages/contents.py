"""Contents of messages: what was parsed at ingest, and where the octets are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, Refused
from store_api.blobs.places import COLUMNS, Place
from store_api.db.engine import Database, run

MAX_BLOBS: Final = 10_000

# A blob is readable through a message of the account, or not at all.
_READABLE: Final = "EXISTS (SELECT 1 FROM message m WHERE m.blob_id = b.id AND m.account_id = :account_id)"

_SUMMARIES: Final = f"""
SELECT b.summary FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n) JOIN blob b ON b.id = t.id
WHERE {_READABLE} ORDER BY n
"""

_PLACES: Final = f"""
SELECT {COLUMNS}
FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n) JOIN blob b ON b.id = t.id
WHERE {_READABLE} ORDER BY n
"""


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
            f"SELECT {COLUMNS} FROM transmission t JOIN blob b ON b.id = t.blob_id WHERE t.id = :id",
            id=transmission_id,
        )
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such transmission")
    return Place(*row)
