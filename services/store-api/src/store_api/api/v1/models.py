"""Values of the public REST API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from store_api.messages.listing import ListedMessage


class NewDomain(BaseModel):
    name: str = Field(examples=["example.test"], max_length=253)


class Domain(BaseModel):
    name: str


class Domains(BaseModel):
    items: list[Domain]


class NewAccount(BaseModel):
    address: str = Field(examples=["alice@example.test"], max_length=320)
    password: str = Field(max_length=1024, repr=False)


class Account(BaseModel):
    id: UUID
    address: str
    state: Literal["active", "disabled"]
    created_at: datetime


class Accounts(BaseModel):
    items: list[Account]
    next_cursor: str | None = None


class Mailbox(BaseModel):
    """A mailbox and its counters; `name` has `/` between the levels."""

    id: UUID
    name: str
    messages: int
    unseen: int
    octets: int
    subscribed: bool
    special_use: str | None
    uid_validity: int
    uid_next: int
    highest_modseq: int


class Mailboxes(BaseModel):
    items: list[Mailbox]


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


class Delivery(BaseModel):
    """One recipient of a message that goes to another server."""

    id: UUID
    transmission_id: UUID
    reverse_path: str
    recipient: str
    state: Literal["queued", "delivered", "failed"]
    attempts: int
    last_reply: str
    last_status: str
    last_remote: str
    next_attempt_at: datetime
    expires_at: datetime


class Deliveries(BaseModel):
    items: list[Delivery]
    next_cursor: str | None = None
