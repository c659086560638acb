"""What clients list of a message, rendered and decoded once at ingest (RFC 9051 §7.5.2, RFC 5256, RFC 8970)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mail_proto.message.address_list import displayed
from mail_proto.message.body_structure import MAX_HEADER_OCTETS, describe, listed_addresses, render_body
from mail_proto.message.envelope import render_envelope, sent_date
from mail_proto.message.headers import decode, lines
from mail_proto.message.leaves import leaves
from mail_proto.message.message_ids import message_id, references
from mail_proto.message.preview import preview
from mail_proto.message.structure import Octets, Part, scan
from mail_proto.message.subjects import base_subject

# Ours: what lists show of a Subject. RFC 5322 §2.1.1 wants lines of 78.
MAX_SUBJECT_OCTETS: Final = 4_096
# Ours: how many addresses of each field lists show; the message has them all.
MAX_LISTED_ADDRESSES: Final = 50


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """Parsed once at ingest.

    `envelope`, `body`, `bodystructure`: the parenthesised lists as they go on the wire. `header`: the octets of the
    header with its empty line; if it is larger than MAX_HEADER_OCTETS, cut behind the last whole field below that, so
    that it is shorter than `root.body_start`. `sent_date`: the Date field in seconds since the epoch, UTC.

    The rest is decoded text. `message_id` and `references` (oldest first) are without brackets. `base_subject` and
    `is_reply`: RFC 5256 §2.1, §3. `senders`, `to`, `cc`: (name, address), MAX_LISTED_ADDRESSES of each at most.
    `preview`: RFC 8970. `attachments`: how many parts are to be saved rather than read.
    """

    octets: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    header: bytes
    root: Part
    sent_date: int | None
    message_id: str
    references: list[str]
    subject: str
    base_subject: str
    is_reply: bool
    senders: list[tuple[str, str]]
    to: list[tuple[str, str]]
    cc: list[tuple[str, str]]
    preview: str
    attachments: int


def summarize(octets: Octets) -> MessageSummary:
    """Scan and render a message. Never raises, whatever the octets; time is linear in their number."""
    root = scan(octets)
    described = describe(octets, root)
    values = described[0].values
    listed = listed_addresses(values)
    body, bodystructure = render_body(described)
    subject = decode(values.get(b"subject", b"")[:MAX_SUBJECT_OCTETS])
    base = base_subject(subject)
    found = leaves(described)
    senders, to, cc = (displayed(listed.get(name, ())[:MAX_LISTED_ADDRESSES]) for name in (b"from", b"to", b"cc"))
    return MessageSummary(
        octets=len(octets),
        envelope=render_envelope(values, listed),
        body=body,
        bodystructure=bodystructure,
        header=_capped(octets[: root.body_start]),
        root=root,
        sent_date=sent_date(values.get(b"date")),
        message_id=message_id(values.get(b"message-id")),
        references=references(values),
        subject=subject,
        base_subject=base.text,
        is_reply=base.is_reply,
        senders=senders,
        to=to,
        cc=cc,
        preview=preview(octets, found),
        attachments=sum(leaf.role == "attachment" for leaf in found),
    )


def _capped(header: bytes) -> bytes:
    if len(header) <= MAX_HEADER_OCTETS:
        return header
    kept = max((line.end for line in lines(header[:MAX_HEADER_OCTETS]) if line.end < MAX_HEADER_OCTETS), default=0)
    return header[:kept] + b"\r\n"
