"""Rows of the table `mailbox`: reading, locking, counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Mailbox
from store_api.db.engine import fetch

COLUMNS: Final = (
    "id, name, uid_validity, uid_next, highest_modseq, messages, unseen, octets, subscribed, special_use,"
    " retention_days, recent_uid"
)


def to_mailbox(row: Any) -> Mailbox:
    """A row of `COLUMNS` as it goes to the frontends."""
    return Mailbox(
        id=row.id,
        name=row.name,
        uid_validity=row.uid_validity,
        uid_next=row.uid_next,
        highest_modseq=row.highest_modseq,
        messages=row.messages,
        unseen=row.unseen,
        octets=row.octets,
        subscribed=row.subscribed,
        special_use=row.special_use,
        retention_days=row.retention_days,
        recent_uid=row.recent_uid,
    )


async def lock(connection: AsyncConnection, account_id: UUID, mailbox_ids: Sequence[UUID]) -> dict[UUID, Mailbox]:
    """Lock mailboxes until the transaction ends, in the order of ids as everybody does.

    Under this lock uids and modseqs are given out, so that they become visible in order.
    Raises NotFound: one of them isn't there.
    """
    rows = await fetch(
        connection,
        f"SELECT {COLUMNS} FROM mailbox WHERE account_id = :account_id AND id = ANY (CAST(:ids AS uuid[]))"
        " ORDER BY id FOR UPDATE",
        account_id=account_id,
        ids=list(mailbox_ids),
    )
    found = {row.id: to_mailbox(row) for row in rows}
    if any(mailbox_id not in found for mailbox_id in mailbox_ids):
        raise NotFound("there is no such mailbox")
    return found


async def count(
    connection: AsyncConnection,
    account_id: UUID,
    mailbox_id: UUID,
    modseq: int,
    *,
    messages: int = 0,
    unseen: int = 0,
    octets: int = 0,
) -> None:
    """Set the modseq of a locked mailbox and add to its counters; uid_next grows with the messages added."""
    await fetch(
        connection,
        "UPDATE mailbox SET highest_modseq = :modseq, messages = messages + :messages, unseen = unseen + :unseen,"
        " octets = octets + :octets, uid_next = uid_next + greatest(:messages, 0)"
        " WHERE account_id = :account_id AND id = :mailbox_id",
        account_id=account_id,
        mailbox_id=mailbox_id,
        modseq=modseq,
        messages=messages,
        unseen=unseen,
        octets=octets,
    )
