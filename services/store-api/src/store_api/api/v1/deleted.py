"""Messages that were deleted and can be restored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

import msgspec
from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field, model_validator

from mail_proto.message import headers
from mail_runtime.contracts.store import Summary
from store_api.api.access import TheAccount, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import problems
from store_api.api.v1.common import MESSAGES, Input, Limit
from store_api.api.v1.cursors import Cursor
from store_api.mailboxes import undelete as rules

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=[MESSAGES])


class DeletedMessage(BaseModel):
    """A message that can be restored by its `id`."""

    id: UUID
    mailbox_id: UUID
    mailbox: str = Field(description="what the mailbox was called", examples=["INBOX"])
    octets: int
    flags: list[str] = Field(examples=[["\\Seen"]])
    received_at: datetime
    deleted_at: datetime
    subject: str
    sender: str = Field(examples=["Alice <alice@example.test>"])

    @classmethod
    def of(cls, deleted: rules.Deleted) -> Self:
        header = msgspec.msgpack.decode(deleted.summary, type=Summary).header
        return cls(
            id=deleted.email_id,
            mailbox_id=deleted.mailbox_id,
            mailbox=deleted.mailbox_name,
            octets=deleted.octets,
            flags=list(deleted.flags),
            received_at=datetime.fromtimestamp(deleted.internal_date, UTC),
            deleted_at=deleted.deleted_at,
            subject=headers.decode(headers.field(header, b"Subject") or b""),
            sender=headers.decode(headers.field(header, b"From") or b""),
        )


class DeletedMessages(BaseModel):
    items: list[DeletedMessage]
    next_cursor: str | None = None


class Undelete(Input):
    """Either of the two."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)] | None = None
    since: AwareDatetime | None = Field(None, description="all that were deleted at this time or later")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.ids is None) == (self.since is None):
            raise ValueError("say which messages: either `ids` or `since`")
        return self


class RestoredMessage(BaseModel):
    """A message that is back: with its old id and a new uid."""

    id: UUID
    mailbox_id: UUID
    uid: int


class RestoredMessages(BaseModel):
    items: list[RestoredMessage]


@router.get("/deleted", responses=problems("invalid-cursor"))
async def get_deleted(
    store: TheStore, account: TheAccount, limit: Limit = 100, cursor: Cursor = None
) -> DeletedMessages:
    """What can be restored, deleted last first. After some weeks what was deleted is gone for good."""
    of = f"deleted {account.id}"
    before = store.cursors.after(of, cursor, tuple[datetime, UUID, int])
    rows = await rules.list_deleted(store.database, account.id, before, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: (row.deleted_at, row.mailbox_id, row.uid))
    return DeletedMessages(items=[DeletedMessage.of(row) for row in rows], next_cursor=following)


@router.post("/undelete", responses=problems("over-quota"))
async def post_undelete(store: TheStore, account: TheAccount, wanted: Undelete) -> RestoredMessages:
    """Restore messages into the mailboxes that they were in; a mailbox that is gone is made again.

    Those that can't be restored any more are left out of the answer. At most 10,000 at a time, oldest first:
    repeat it until nothing is restored.
    """
    restored = await rules.undelete(
        store.database, store.notifier, account.id, email_ids=wanted.ids, since=wanted.since
    )
    return RestoredMessages(
        items=[RestoredMessage(id=row.email_id, mailbox_id=row.mailbox_id, uid=row.uid) for row in restored]
    )
