"""Messages of an account: listed, read, as they came."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mail_proto.message.text import searchable
from store_api.api.access import TheAccount, TheStore
from store_api.api.v1.common import MESSAGES, Limit
from store_api.api.v1.cursors import Cursor
from store_api.blobs.reading import read
from store_api.messages.contents import places
from store_api.messages.listing import ListedMessage, list_messages, read_message

router = APIRouter(prefix="/accounts/{address}", tags=[MESSAGES])


class Message(BaseModel):
    """A message in a list. `id` names it in whatever mailbox it is, `uid` in this one."""

    id: UUID
    uid: int
    octets: int
    flags: list[str]
    received_at: datetime
    sent_at: datetime | None
    subject: str
    sender: str
    recipients: str
    message_id: str

    @classmethod
    def of(cls, listed: ListedMessage) -> Message:
        sent = listed.summary.sent_date
        return cls(
            id=listed.email_id,
            uid=listed.uid,
            octets=listed.octets,
            flags=list(listed.flags),
            received_at=datetime.fromtimestamp(listed.internal_date, UTC),
            sent_at=None if sent is None else datetime.fromtimestamp(sent, UTC),
            subject=listed.header(b"Subject"),
            sender=listed.header(b"From"),
            recipients=listed.header(b"To"),
            message_id=listed.header(b"Message-ID"),
        )


class Messages(BaseModel):
    items: list[Message]
    next_cursor: str | None = None


class ReadMessage(Message):
    """One message with its text: all parts of type text, decoded, without markup."""

    text: str


@router.get("/mailboxes/{mailbox_id}/messages")
async def get_messages(
    store: TheStore, account: TheAccount, mailbox_id: UUID, limit: Limit = 50, cursor: Cursor = None
) -> Messages:
    """Messages of a mailbox, newest first."""
    of = f"messages {mailbox_id}"
    before = store.cursors.after(of, cursor, int)
    found = await list_messages(store.database, account.id, mailbox_id, before, limit + 1)
    page, following = store.cursors.page(of, found, limit, lambda message: message.uid)
    return Messages(items=[Message.of(message) for message in page], next_cursor=following)


@router.get("/messages/{message_id}")
async def get_message(store: TheStore, account: TheAccount, message_id: UUID) -> ReadMessage:
    """One message, decoded."""
    found = await read_message(store.database, account.id, message_id)
    place = (await places(store.database, account.id, [found.blob_id]))[0]
    text = await run_in_threadpool(searchable, await read(store.blobs, place), found.summary.root)
    return ReadMessage(**Message.of(found).model_dump(), text=text)


@router.get(
    "/messages/{message_id}/raw",
    response_class=Response,
    responses={200: {"content": {"message/rfc822": {}}}},
)
async def get_raw_message(store: TheStore, account: TheAccount, message_id: UUID) -> Response:
    """The message, octet for octet."""
    found = await read_message(store.database, account.id, message_id)
    place = (await places(store.database, account.id, [found.blob_id]))[0]
    return Response(await read(store.blobs, place), media_type="message/rfc822")
