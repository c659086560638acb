"""What was parsed of messages, and their octets."""

from __future__ import annotations

from uuid import UUID

import msgspec

from mail_proto.message.structure import Part
from mail_proto.message.summary import MessageSummary


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was parsed once at ingest. `envelope`, `body` and `bodystructure` are rendered IMAP (RFC 9051 §7.5.2).

    `header` is the message's header, up to and including the empty line; `root.body_start` is larger where it was cut.
    What comes after `sent_date` is decoded text, empty in summaries of earlier versions: see `MessageSummary`.
    `senders`, `to`, `cc` are (name, address), the first of each field.
    """

    blob_id: UUID
    octets: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    header: bytes
    root: Part
    sent_date: int | None = None  # seconds since the epoch
    message_id: str = ""  # without brackets, as are `references`, oldest first
    references: list[str] = []
    subject: str = ""
    base_subject: str = ""  # RFC 5256 §2.1, in the case that it was written in
    is_reply: bool = False  # RFC 5256 §3: the subject says "re:" or "fwd:"
    senders: list[tuple[str, str]] = []
    to: list[tuple[str, str]] = []
    cc: list[tuple[str, str]] = []
    preview: str | None = None  # RFC 8970; None: not made yet
    attachments: int = 0

    @classmethod
    def of(cls, blob_id: UUID, parsed: MessageSummary) -> Summary:
        """The summary of a message that was just parsed."""
        return cls(
            blob_id=blob_id,
            octets=parsed.octets,
            envelope=parsed.envelope,
            body=parsed.body,
            bodystructure=parsed.bodystructure,
            header=parsed.header,
            root=parsed.root,
            sent_date=parsed.sent_date,
            message_id=parsed.message_id,
            references=parsed.references,
            subject=parsed.subject,
            base_subject=parsed.base_subject,
            is_reply=parsed.is_reply,
            senders=parsed.senders,
            to=parsed.to,
            cc=parsed.cc,
            preview=parsed.preview,
            attachments=parsed.attachments,
        )


class BlobIds(msgspec.Struct, frozen=True, kw_only=True):
    ids: list[UUID]
