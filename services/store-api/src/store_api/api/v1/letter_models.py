"""A message to send, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from mail_proto.message.compose import Attachment, Letter, Mailbox
from store_api.api.v1.common import Input
from store_api.messages.sending import valid_address

# Ours; more belongs into several messages.
MAX_RECIPIENTS: Final = 1_000
MAX_ATTACHMENTS: Final = 500
MAX_TEXT: Final = 10_000_000

Base64 = Annotated[bytes, WithJsonSchema({"type": "string", "contentEncoding": "base64", "examples": ["JVBERi0xLjQ="]})]


class Recipient(Input):
    """An address, with the name that readers show."""

    name: str = Field("", max_length=500, examples=["Zoë Doe"])
    address: str = Field(max_length=320, examples=["zoe@example.test"])


def _recipient(value: Any) -> Any:
    return {"address": value} if isinstance(value, str) else value


Named = Annotated[Recipient, BeforeValidator(_recipient, json_schema_input_type=Recipient | str)]
Recipients = Annotated[
    list[Named], Field(max_length=MAX_RECIPIENTS, description="addresses, or objects with a name too")
]


class NewAttachment(Input):
    """A file; with a `content_id` an image that the HTML shows as `cid:…`."""

    name: str = Field("", max_length=255, examples=["plan.pdf"])
    media_type: str = Field("application/octet-stream", max_length=150, examples=["application/pdf"])
    model_config = ConfigDict(val_json_bytes="base64")

    content: Base64
    content_id: str | None = Field(None, max_length=200, examples=["logo@example.test"])


class HeaderToAdd(Input):
    name: str = Field(max_length=70, examples=["X-Campaign"])
    value: str = Field(max_length=10_000, examples=["spring"])


class NewMessage(Input):
    """A message to send. Text or HTML, or both: readers show what they can."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=False,
        json_schema_extra={
            "examples": [
                {
                    "from": {"name": "Alice", "address": "alice@example.test"},
                    "to": ["zoe@example.test"],
                    "subject": "Lunch",
                    "text": "Thursday?",
                }
            ]
        },
    )

    sender: Named | None = Field(
        None, alias="from", description="an address of the account or of an alias of it; the account's when left out"
    )
    to: Recipients = Field([])
    cc: Recipients = Field([])
    bcc: Recipients = Field([], description="get it too, and nobody sees that")
    reply_to: Recipients = Field([])
    subject: str = Field("", max_length=2_000, examples=["Lunch"])
    text: str | None = Field(None, max_length=MAX_TEXT, examples=["Thursday?"])
    html: str | None = Field(None, max_length=MAX_TEXT, examples=["<p>Thursday?</p>"])
    attachments: list[NewAttachment] = Field([], max_length=MAX_ATTACHMENTS)
    in_reply_to: str | None = Field(None, max_length=900, description="Message-ID without brackets")
    references: list[str] = Field(
        [], max_length=200, description="Message-IDs without brackets, oldest first", examples=[["1@example.test"]]
    )
    headers: list[HeaderToAdd] = Field(
        [], max_length=100, description="`X-…`, `List-…`, `Auto-Submitted`, `Organization` and the like"
    )

    @model_validator(mode="after")
    def _has_recipients(self) -> NewMessage:
        if not (self.to or self.cc or self.bcc):
            raise ValueError("say whom to send it to: to, cc or bcc")
        return self

    def letter(self, own_address: str, message_id: str, token: str, now: datetime) -> Letter:
        """What is to be written. Raises Refused: an address isn't one."""
        return Letter(
            sender=_mailboxes([self.sender or Recipient(name="", address=own_address)])[0],
            date=now,
            message_id=message_id,
            token=token,
            to=_mailboxes(self.to),
            cc=_mailboxes(self.cc),
            reply_to=_mailboxes(self.reply_to),
            subject=self.subject,
            text=self.text,
            html=self.html,
            attachments=[Attachment(one.name, one.media_type, one.content, one.content_id) for one in self.attachments],
            in_reply_to=self.in_reply_to,
            references=self.references,
            fields=[(one.name, one.value) for one in self.headers],
        )

    def hidden(self) -> list[Mailbox]:
        """Those in Bcc. Raises Refused."""
        return _mailboxes(self.bcc)


def _mailboxes(recipients: list[Recipient]) -> list[Mailbox]:
    return [(one.name, valid_address(one.address)) for one in recipients]


class SentMessage(BaseModel):
    """The message is stored for all its recipients here, and queued for those elsewhere."""

    transmission_id: UUID = Field(description="by which the queue and events name it")
    message_id: str = Field(description="Message-ID without brackets", examples=["0198c0de@example.test"])
    recipients: list[str] = Field(examples=[["zoe@example.test"]])
    copy_in: UUID | None = Field(description="the mailbox with the sender's copy, null if there is none")
