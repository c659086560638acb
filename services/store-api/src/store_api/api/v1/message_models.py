"""Messages as the public API documents them.

What is answered is encoded from plain values, for speed; these models describe it, and tests compare the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from store_api.api.v1.common import Input

# Ours: one request holds a mailbox for a fraction of a second.
MAX_IDS: Final = 10_000
MAX_FLAGS: Final = 100

_ID: Final = "0198c0de-7a57-7b1e-8000-3f1c2a5d9e01"
_MAILBOX: Final = "0198c0de-0000-7000-8000-000000000001"


class Address(BaseModel):
    """`address` is as it was written: it need not be a valid one."""

    name: str = Field(examples=["Zoë Doe"])
    address: str = Field(examples=["zoe@example.test"])


class Message(BaseModel):
    """A message in a list. `id` names it in whatever mailbox it is, `uid` in this one."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID = Field(examples=[_ID])
    mailbox_id: UUID = Field(examples=[_MAILBOX])
    thread_id: UUID | None = Field(description="the same for the messages of a conversation", examples=[_ID])
    uid: int = Field(examples=[17])
    modseq: int = Field(description="grows with each change of the message", examples=[4711])
    octets: int = Field(examples=[8192])
    flags: list[str] = Field(examples=[["\\Seen", "$Forwarded"]])
    received_at: datetime = Field(examples=["2026-03-01T12:00:00Z"])
    sent_at: datetime | None = Field(description="its own Date", examples=["2026-03-01T11:59:58Z"])
    subject: str = Field(examples=["Re: lunch"])
    senders: list[Address] = Field(alias="from", description="the first 50, as are `to` and `cc` in lists")
    to: list[Address]
    cc: list[Address]
    message_id: str = Field(description="Message-ID without brackets", examples=["1f3@example.test"])
    references: list[str] = Field(
        description="Message-IDs that it follows, oldest first", examples=[["0a@example.test"]]
    )
    preview: str = Field(description="how its text begins (RFC 8970)", examples=["I could do Thursday, if"])
    attachments: int = Field(examples=[0])


class Messages(BaseModel):
    items: list[Message]
    next_cursor: str | None = None


class HeaderField(BaseModel):
    name: str = Field(examples=["List-Id"])
    value: str = Field(description="decoded", examples=["Announcements <announce.example.test>"])


class Part(BaseModel):
    """A part to save, or an image that belongs into the HTML."""

    part: str = Field(description="its number (RFC 9051 §6.4.5)", examples=["1.2"])
    disposition: Literal["attachment", "inline"]
    name: str = Field(description="a bare file name, or empty", examples=["plan.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    octets: int = Field(description="decoded, as it is read from `url`", examples=[9907])
    content_id: str = Field(description="Content-ID without brackets, or empty", examples=["logo@example.test"])
    url: str = Field(examples=[f"/v1/accounts/zoe@example.test/messages/{_ID}/parts/1.2"])


class ReadMessage(Message):
    """One message with its contents."""

    bcc: list[Address]
    reply_to: list[Address]
    headers: list[HeaderField]
    text: str = Field(
        description="all parts of type text/plain, or what the HTML shows", examples=["I could do Thursday."]
    )
    html: str | None = Field(
        description="safe to put into a page: no scripts, no forms, images of the message by their URL here",
        examples=["<p>I could do <b>Thursday</b>.</p>"],
    )
    remote_images_blocked: bool = Field(
        description="`html` had images on other servers: `remote_images=true` keeps them"
    )
    parts: list[Part]


def _storable(flag: str) -> str:
    if not flag or len(flag) > 200:
        raise ValueError("a flag has 1 to 200 characters")
    return flag


Flag = Annotated[str, AfterValidator(_storable)]
Flags = Annotated[list[Flag], Field(max_length=MAX_FLAGS, examples=[["\\Seen"]])]


class FlagChange(Input):
    """Flags to add and remove, or `flags` to have instead of those that there are."""

    add: Flags = Field([])
    remove: Flags = Field([])
    flags: Flags | None = None

    @model_validator(mode="after")
    def _one_way(self) -> FlagChange:
        if self.flags is not None and (self.add or self.remove):
            raise ValueError("either flags, or add and remove")
        if self.flags is None and not self.add and not self.remove:
            raise ValueError("say what changes: add, remove or flags")
        return self


class Target(Input):
    mailbox_id: UUID = Field(description="where to", examples=[_MAILBOX])


Ids = Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS, examples=[[_ID]])]


class ManyFlagChanges(FlagChange):
    ids: Ids


class ManyToTarget(Target):
    ids: Ids


class ManyToDelete(Input):
    ids: Ids
    permanently: bool = Field(False, description="not into the Trash, but away")


class Done(BaseModel):
    """What a request about many messages did: to all that were there, or to none."""

    changed: list[UUID] = Field(examples=[[_ID]])
    missing: list[UUID] = Field(description="those that are not in the mailbox (any more)", examples=[[]])
