"""Messages of a maildrop: many in one answer, or a piece of a large one."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Retrieve, RetrievePiece
from store_api.blobs.places import COLUMNS, Place
from store_api.db.engine import Database

_PRESENT: Final = f"""
SELECT m.uid, {COLUMNS}
FROM message m JOIN blob b ON b.id = m.blob_id
WHERE m.account_id = :account_id AND m.mailbox_id = :mailbox_id AND m.uid = ANY (CAST(:uids AS bigint[]))
ORDER BY m.uid
"""

# A message that was removed can be read to its end for as long as it could be restored.
_BEGUN: Final = f"""
SELECT {COLUMNS} FROM blob b
WHERE b.id = :blob_id AND (
    EXISTS (SELECT 1 FROM message m WHERE m.blob_id = b.id AND m.account_id = :account_id)
    OR EXISTS (SELECT 1 FROM expunged e WHERE e.blob_id = b.id AND e.account_id = :account_id))
"""


async def present(database: Database, account_id: UUID, wanted: Retrieve) -> tuple[list[int], list[Place]]:
    """Uids of those that are in the mailbox, and where their octets are; ascending."""
    rows = await database.fetch(_PRESENT, account_id=account_id, mailbox_id=wanted.mailbox_id, uids=wanted.uids)
    return [row[0] for row in rows], [Place(*row[1:]) for row in rows]


async def begun(database: Database, account_id: UUID, wanted: RetrievePiece) -> Place:
    """Where the message's octets are. Raises NotFound: it isn't the account's, or not in the mailbox at its start."""
    if wanted.start == 0:
        _, found = await present(database, account_id, Retrieve(mailbox_id=wanted.mailbox_id, uids=[wanted.uid]))
        place = next((place for place in found if place.blob_id == wanted.blob_id), None)
    else:
        rows = await database.fetch(_BEGUN, account_id=account_id, blob_id=wanted.blob_id)
        place = Place(*rows[0]) if rows else None
    if place is None:
        raise NotFound("the message is gone")
    return place
