"""What is to be stored: messages, where they go, and what of them must be committed together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from mail_proto.message.summary import summarize
from mail_runtime.contracts.store import DsnRequest, Ret, Summary, TlsWish
from store_api.blobs import Octets
from store_api.blobs.writing import Body
from store_api.db.ids import uuid7
from store_api.ingest.threads import references

# Account, mailbox, and who puts something there, where that isn't the owner.
Place = tuple[UUID, UUID, UUID | None]


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox that the message goes into. `inserter_id`: who puts it there, where that isn't the owner."""

    account_id: UUID
    mailbox_id: UUID
    flags: tuple[str, ...] = ()
    internal_date: int = field(default_factory=lambda: int(time.time()))
    inserter_id: UUID | None = None

    @property
    def place(self) -> Place:
        return self.account_id, self.mailbox_id, self.inserter_id


@dataclass(frozen=True, slots=True)
class Outbound:
    """The envelope of a message, and those of its recipients who are elsewhere.

    `account_id` and `domain_id`: whose mail it is, and whose suppression list counts. `dsn`: what was asked about
    notifications, by recipient. `traceparent`: the trace that goes on when it is sent (`mail_runtime.tracing`).
    `is_forwarded`: it came from outside, and leaves again with an ARC seal.
    """

    transmission_id: UUID
    account_id: UUID | None
    reverse_path: str
    recipients: tuple[str, ...]
    smtputf8: bool
    lifetime_s: float
    delay_notice_s: float
    domain_id: UUID | None = None
    ret: Ret = ""
    envid: str = ""
    dsn: Mapping[str, DsnRequest] = field(default_factory=dict)
    traceparent: str = ""
    tls_wish: TlsWish = ""
    is_forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was parsed of a message, once: `summary` is the encoded `contracts.store.Summary`.

    `references`: what its thread is found by (`ingest.threads`).
    """

    summary: bytes
    references: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message to store: its octets and where they go.

    `key` (of an APPEND that may be repeated) becomes the id of the message: no mailbox gets the same one twice.
    """

    octets: Octets
    targets: tuple[Target, ...]
    outbound: Outbound | None = None
    blob_id: UUID = field(default_factory=uuid7)
    key: UUID | None = None
    scanned: Scanned | None = None

    @property
    def body(self) -> Body:
        return Body(self.blob_id, self.octets)


# Committed together or not at all. The first of a group decides: where its transmission was stored before,
# the others were too.
Group = Sequence[Incoming]


@dataclass(frozen=True, slots=True)
class Stored:
    """One row that was made."""

    account_id: UUID
    mailbox_id: UUID
    uid: int
    uid_validity: int
    modseq: int
    email_id: UUID
    domain_id: UUID


Results = list[list[Stored]]

# A scan of a message larger than this goes to a thread: it would hold up the others.
SCAN_INLINE_OCTETS: Final = 256 * 1024

_encode: Final = msgspec.msgpack.Encoder().encode


def scan(octets: Octets, blob_id: UUID) -> Scanned:
    """Parse a message. Never raises, whatever the octets."""
    parsed = summarize(octets)
    return Scanned(_encode(Summary.of(blob_id, parsed)), references(parsed.message_id, parsed.references))
