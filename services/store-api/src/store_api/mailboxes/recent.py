"""\\Recent: messages that no session was told of before (RFC 3501 §2.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from store_api.db.engine import Database

# A message that is being delivered waits for this row, and gets a uid above.
_CLAIM: Final = """
WITH held AS (
    SELECT id, recent_uid FROM mailbox WHERE account_id = :account_id AND id = :mailbox_id FOR NO KEY UPDATE
), claimed AS (
    UPDATE mailbox SET recent_uid = :up_to FROM held
    WHERE mailbox.account_id = :account_id AND mailbox.id = held.id AND held.recent_uid < :up_to
)
SELECT recent_uid FROM held
"""

_COUNT: Final = """
SELECT b.id, count(m.uid) AS messages
FROM mailbox b JOIN message m ON m.account_id = b.account_id AND m.mailbox_id = b.id AND m.uid > b.recent_uid
WHERE b.account_id = :account_id AND b.id = ANY (CAST(:mailbox_ids AS uuid[]))
GROUP BY b.id
"""


async def claim_recent(database: Database, account_id: UUID, mailbox_id: UUID, up_to: int) -> int:
    """A session is told of all messages up to a uid; returns the uid up to which some session was told before.

    Nothing else of the mailbox changes, and nobody is notified. Raises NotFound, Unavailable.
    """
    rows = await database.fetch(_CLAIM, account_id=account_id, mailbox_id=mailbox_id, up_to=up_to)
    if not rows:
        raise NotFound("there is no such mailbox")
    return int(rows[0].recent_uid)


async def count_recent(database: Database, account_id: UUID, mailbox_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many messages no session was told of, in each of these own mailboxes that has any. Raises Unavailable."""
    rows = await database.fetch(_COUNT, account_id=account_id, mailbox_ids=list(mailbox_ids))
    return {row.id: row.messages for row in rows}
