"""Lists of messages: filtered, newest first, with what was parsed of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from mail_proto.message.summary import summarize
from mail_runtime.contracts.store import Summary
from store_api.db.engine import Database, run
from store_api.mailboxes.mailboxes import read_mailbox

COLUMNS: Final = (
    "m.email_id, m.mailbox_id, m.uid, m.thread_id, m.octets, m.flags, m.modseq, m.internal_date, m.blob_id, b.summary"
)

_OF_MAILBOX: Final = "AND m.mailbox_id = :mailbox_id"
_ORDER_OF_MAILBOX: Final = "AND (CAST(:uid AS bigint) IS NULL OR m.uid < :uid) ORDER BY m.uid DESC LIMIT :limit"
# Ids are given out on arrival and sort by time (UUIDv7).
_ORDER_OF_ACCOUNT: Final = (
    "AND (CAST(:email_id AS uuid) IS NULL OR (m.email_id, m.mailbox_id, m.uid) < (:email_id, :before_id, :uid))"
    " ORDER BY m.email_id DESC, m.mailbox_id DESC, m.uid DESC LIMIT :limit"
)
_CONDITIONS: Final = {
    "thread_id": "AND m.thread_id = :thread_id",
    "seen": "AND ('\\Seen' = ANY (m.flags)) = :seen",
    "flagged": "AND ('\\Flagged' = ANY (m.flags)) = :flagged",
    "since": "AND m.internal_date >= :since",
    "before": "AND m.internal_date < :before",
    "has_attachment": "AND (coalesce(b.attachments, 0) > 0) = :has_attachment",
}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `contracts.store.Summary` that lists show; decoding skips the others."""

    sent_date: int | None = None
    message_id: str = ""
    references: list[str] = []
    subject: str = ""
    senders: list[tuple[str, str]] = []
    to: list[tuple[str, str]] = []
    cc: list[tuple[str, str]] = []
    preview: str | None = None
    attachments: int = 0


_listed: Final = msgspec.msgpack.Decoder(Listed).decode


class Key(NamedTuple):
    """Where a row stands in a list. Copies of one message share its id, and come in one mailbox after the other."""

    email_id: UUID
    mailbox_id: UUID
    uid: int


@dataclass(frozen=True, slots=True)
class Filters:
    """What is listed; None: it doesn't matter. Times are those of arrival, in seconds since the epoch."""

    mailbox_id: UUID | None = None
    thread_id: UUID | None = None
    seen: bool | None = None
    flagged: bool | None = None
    since: int | None = None
    before: int | None = None
    has_attachment: bool | None = None


async def list_messages(
    database: Database, account_id: UUID, filters: Filters, after: Key | None, limit: int
) -> list[Any]:
    """Rows of `COLUMNS`, newest first, behind the row with that key. Raises NotFound: the mailbox."""
    wanted = {name: value for name in _CONDITIONS if (value := getattr(filters, name)) is not None}
    where = [_CONDITIONS[name] for name in wanted]
    email_id, before_id, uid = after or (None, None, None)
    if filters.mailbox_id is None:
        where.append(_ORDER_OF_ACCOUNT)
        wanted |= {"email_id": email_id, "before_id": before_id, "uid": uid}
    else:
        where[:0] = [_OF_MAILBOX]
        where.append(_ORDER_OF_MAILBOX)
        wanted |= {"mailbox_id": filters.mailbox_id, "uid": uid}
    sql = f"SELECT {COLUMNS} FROM message m JOIN blob b ON b.id = m.blob_id WHERE m.account_id = :account_id "
    async with database.transaction() as connection:
        rows = (await run(connection, sql + " ".join(where), account_id=account_id, limit=limit, **wanted)).all()
        if not rows and filters.mailbox_id is not None:
            await read_mailbox(connection, account_id, filters.mailbox_id)
        return list(rows)


def key_of(row: Any) -> Key:
    """Where a page ends that has this row last."""
    return Key(row.email_id, row.mailbox_id, row.uid)


def read_listed(summary: bytes) -> Listed:
    """What lists show. Of a summary that was made before there were previews, what its header says."""
    listed = _listed(summary)
    if listed.preview is not None:
        return listed
    kept = msgspec.msgpack.decode(summary, type=Summary)
    again = summarize(kept.header)
    return Listed(
        sent_date=kept.sent_date,
        message_id=again.message_id,
        references=again.references,
        subject=again.subject,
        senders=again.senders,
        to=again.to,
        cc=again.cc,
        preview="",
    )
