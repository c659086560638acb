"""Contents of messages: what was parsed at ingest, and where the octets are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound, Refused
from store_api.blobs.places import COLUMNS, Place
from store_api.db.engine import Database
from store_api.mailboxes.reaching import REACHABLE
from store_api.mailboxes.rights import Right

MAX_BLOBS: Final = 10_000

# A blob is readable through a message of the account, or of a mailbox that it may read, or not at all.
_READABLE: Final = "EXISTS (SELECT 1 FROM message m WHERE m.blob_id = b.id AND m.account_id = :reader_id)"
_READABLE_ELSEWHERE: Final = f"""EXISTS (
    SELECT 1 FROM reachable x JOIN message m ON m.account_id = x.owner_id AND m.mailbox_id = x.mailbox_id
    WHERE m.blob_id = b.id AND x.rights & {Right.READ:d} <> 0)"""

_FROM: Final = "FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n) JOIN blob b ON b.id = t.id"
_SUMMARIES: Final = f"SELECT b.summary {_FROM} WHERE {_READABLE} ORDER BY n"
_PLACES: Final = f"SELECT {COLUMNS} {_FROM} WHERE {_READABLE} ORDER BY n"
# For whoever asks for what isn't all its own.
_REACHABLE: Final = f"WITH reachable AS MATERIALIZED ({REACHABLE}) "
_ALL_SUMMARIES: Final = _REACHABLE + _SUMMARIES.replace(_READABLE, f"({_READABLE} OR {_READABLE_ELSEWHERE})")
_ALL_PLACES: Final = _REACHABLE + _PLACES.replace(_READABLE, f"({_READABLE} OR {_READABLE_ELSEWHERE})")

_TRANSMISSION_PLACES: Final = f"""
SELECT t.id AS transmission_id, {COLUMNS} FROM transmission t JOIN blob b ON b.id = t.blob_id
WHERE t.id = ANY (CAST(:ids AS uuid[]))
"""


async def summaries(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> list[bytes]:
    """Encoded `wire.Summary` values in the order asked; those that the account may not read are left out."""
    _check_number(blob_ids)
    values = {"reader_id": account_id, "ids": list(blob_ids)}
    rows = await database.fetch(_SUMMARIES, **values)
    if len(rows) < len(blob_ids):
        rows = await database.fetch(_ALL_SUMMARIES, **values)
    return [row[0] for row in rows]


async def places(database: Database, account_id: UUID, blob_ids: Sequence[UUID]) -> list[Place]:
    """In the order asked. Raises NotFound: there is one that the account may not read."""
    _check_number(blob_ids)
    values = {"reader_id": account_id, "ids": list(blob_ids)}
    rows = await database.fetch(_PLACES, **values)
    if len(rows) < len(blob_ids):
        rows = await database.fetch(_ALL_PLACES, **values)
    if len(rows) != len(blob_ids):
        raise NotFound("a message is gone")
    return [Place(*row) for row in rows]


def _check_number(blob_ids: Sequence[UUID]) -> None:
    if len(blob_ids) > MAX_BLOBS:
        raise Refused(f"at most {MAX_BLOBS} blobs in one request")


async def transmission_place(database: Database, transmission_id: UUID) -> Place:
    """Where the message of a transmission is. Raises NotFound, Unavailable."""
    found = await transmission_places(database, [transmission_id])
    if transmission_id not in found:
        raise NotFound("there is no such transmission")
    return found[transmission_id]


async def transmission_places(database: Database, transmission_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Where the messages of transmissions are; those that aren't there are left out. Raises Unavailable."""
    rows = await database.fetch(_TRANSMISSION_PLACES, ids=list(transmission_ids))
    return {transmission_id: Place(*place) for transmission_id, *place in rows}
