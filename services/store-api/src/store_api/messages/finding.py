"""Messages by their ids: which mailboxes they are in.

A copy has the id of the message that it was made from (RFC 8474 §5.1): one id can name a message in several mailboxes,
or twice in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound
from store_api.db.engine import Database, run
from store_api.messages.listing import COLUMNS

_FIND: Final = f"""
SELECT {COLUMNS} FROM message m JOIN blob b ON b.id = m.blob_id
WHERE m.account_id = :account_id AND m.email_id = :email_id
  AND (CAST(:mailbox_id AS uuid) IS NULL OR m.mailbox_id = :mailbox_id)
ORDER BY m.mailbox_id, m.uid
"""

_UIDS: Final = """
SELECT email_id, uid, modseq FROM message
WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND email_id = ANY (CAST(:ids AS uuid[]))
ORDER BY uid
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Messages of one mailbox: their uids and modseqs (a message can be there twice), and the ids that aren't in it."""

    ids: list[UUID]
    missing: list[UUID]
    uids: list[int]
    modseqs: list[int]


async def find_rows(
    database: Database, account_id: UUID, email_id: UUID, mailbox_id: UUID | None = None
) -> Sequence[Any]:
    """The rows of a message, one for each mailbox that it is in. Raises NotFound."""
    async with database.transaction() as connection:
        rows = (await run(connection, _FIND, account_id=account_id, email_id=email_id, mailbox_id=mailbox_id)).all()
    if not rows:
        raise NotFound("there is no such message")
    return rows


async def find_mailbox(database: Database, account_id: UUID, email_id: UUID, mailbox_id: UUID | None) -> UUID:
    """The mailbox that a message is in. Raises NotFound; Conflict: it is in several and none was named."""
    mailboxes = {row.mailbox_id for row in await find_rows(database, account_id, email_id, mailbox_id)}
    if len(mailboxes) > 1:
        raise Conflict("the message is in several mailboxes: say which, with mailbox_id")
    found: UUID = mailboxes.pop()
    return found


async def find_uids(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, ids: Sequence[UUID]) -> Found:
    """Where messages are in a mailbox; as it stays, if the transaction holds the mailbox."""
    rows = (await run(connection, _UIDS, account_id=account_id, mailbox_id=mailbox_id, ids=list(ids))).all()
    there = {row.email_id for row in rows}
    wanted = dict.fromkeys(ids)
    return Found(
        [email_id for email_id in wanted if email_id in there],
        [email_id for email_id in wanted if email_id not in there],
        [row.uid for row in rows],
        [row.modseq for row in rows],
    )
