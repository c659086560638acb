"""Messages as the REST API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from mail_proto.message import headers
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Summary
from store_api.db.engine import Database, run
from store_api.mailboxes.mailboxes import read_mailbox

_COLUMNS: Final = "m.email_id, m.uid, m.octets, m.flags, m.internal_date, m.blob_id, b.summary"


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message with what was parsed from it. `internal_date`: seconds since the epoch."""

    email_id: UUID
    uid: int
    octets: int
    flags: Sequence[str]
    internal_date: int
    blob_id: UUID
    summary: Summary

    def header(self, name: bytes) -> str:
        """The decoded value of a header field, empty where there is none."""
        return headers.decode(headers.field(self.summary.header, name) or b"")


def _listed(row: Any) -> ListedMessage:
    return ListedMessage(
        email_id=row.email_id,
        uid=row.uid,
        octets=row.octets,
        flags=row.flags,
        internal_date=row.internal_date,
        blob_id=row.blob_id,
        summary=msgspec.msgpack.decode(row.summary, type=Summary),
    )


async def list_messages(
    database: Database, account_id: UUID, mailbox_id: UUID, before_uid: int | None, limit: int
) -> list[ListedMessage]:
    """Newest first, below `before_uid`. Raises NotFound: the mailbox."""
    async with database.transaction() as connection:
        await read_mailbox(connection, account_id, mailbox_id)
        rows = await run(
            connection,
            f"SELECT {_COLUMNS} FROM message m JOIN blob b ON b.id = m.blob_id"
            " WHERE m.account_id = :account_id AND m.mailbox_id = :mailbox_id"
            " AND (CAST(:before_uid AS bigint) IS NULL OR m.uid < :before_uid)"
            " ORDER BY m.uid DESC LIMIT :limit",
            account_id=account_id,
            mailbox_id=mailbox_id,
            before_uid=before_uid,
            limit=limit,
        )
        return [_listed(row) for row in rows]


async def read_message(database: Database, account_id: UUID, email_id: UUID) -> ListedMessage:
    """Raises NotFound."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                f"SELECT {_COLUMNS} FROM message m JOIN blob b ON b.id = m.blob_id"
                " WHERE m.account_id = :account_id AND m.email_id = :email_id LIMIT 1",
                account_id=account_id,
                email_id=email_id,
            )
        ).one_or_none()
    if row is None:
        raise NotFound("there is no such message")
    return _listed(row)
