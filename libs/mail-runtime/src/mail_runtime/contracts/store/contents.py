"""What was parsed of messages, and their octets."""

from __future__ import annotations

from uuid import UUID

import msgspec

from mail_proto.message.structure import Part


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was parsed once at ingest. `envelope`, `body` and `bodystructure` are rendered IMAP (RFC 9051 §7.5.2).

    `header` is the message's whole header, up to and including the empty line.
    """

    blob_id: UUID
    octets: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    header: bytes
    root: Part
    sent_date: int | None = None  # seconds since the epoch


class BlobIds(msgspec.Struct, frozen=True, kw_only=True):
    ids: list[UUID]
