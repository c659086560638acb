"""Values of the store's internal interface.

Fields may be added with a default, never removed: old and new processes talk to each other during an upgrade.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from mail_proto.message.structure import Part

# --- directory -----------------------------------------------------------------------------------

Protocol = Literal["smtp", "imap", "pop3"]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A password to check. `peer` is the client's IP address."""

    username: str
    password: str
    protocol: Protocol
    peer: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who logged in. `addresses` are those it may use as reverse path (lower case domain)."""

    account_id: UUID
    address: str
    addresses: list[str]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recipient address leads: an account here, another server, or nowhere."""

    address: str
    status: Literal["local", "remote", "unknown"]


# --- ingest --------------------------------------------------------------------------------------


class Transmission(msgspec.Struct, frozen=True, kw_only=True):
    """Envelope of one accepted DATA. The message follows it in the same HTTP body.

    `id` is made by the frontend once per DATA: a repeated POST with the same id stores nothing twice.
    `submitted_by` is None for mail from outside: then every recipient must be local.
    An empty `reverse_path` is the null reverse path.
    """

    id: UUID
    reverse_path: str
    recipients: list[str]
    submitted_by: UUID | None = None
    smtputf8: bool = False


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Committed: the message is stored and every recipient is delivered or queued."""

    transmission_id: UUID


# --- mailboxes -----------------------------------------------------------------------------------


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """One mailbox and its counters, as LIST and STATUS want them. `name` is Unicode, `/` separates levels."""

    id: UUID
    name: str
    uid_validity: int
    uid_next: int
    highest_modseq: int
    messages: int
    unseen: int
    octets: int
    subscribed: bool
    special_use: str | None = None  # with backslash: "\\Sent"


class CreateMailbox(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class ChangeMailbox(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are None stay as they are. Renaming takes inferiors along; renaming INBOX moves its messages."""

    name: str | None = None
    subscribed: bool | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in a mailbox after `since`: parallel columns, ascending by uid.

    `flags` holds system flags and keywords as written (`\\Seen`, `$Forwarded`). `expunged` lists uids that
    were removed after `since`; with `since` 0 it is empty and the columns are the whole mailbox.
    `internal_dates` are seconds since the epoch, UTC.
    """

    mailbox: Mailbox
    uids: list[int]
    modseqs: list[int]
    flags: list[list[str]]
    internal_dates: list[int]
    octets: list[int]
    blob_ids: list[UUID]
    expunged: list[int]


class AppendHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What precedes the message's octets in an APPEND. `internal_date` None means now."""

    flags: list[str] = []
    internal_date: datetime | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    uid_validity: int
    uid: int


class StoreFlags(msgspec.Struct, frozen=True, kw_only=True):
    """Change flags of messages. `unchanged_since`: leave those with a greater modseq alone (RFC 7162 §3.1.3)."""

    uids: list[int]
    operation: Literal["add", "remove", "replace"]
    flags: list[str]
    unchanged_since: int | None = None


class FlagsStored(msgspec.Struct, frozen=True, kw_only=True):
    """`modified` are uids refused because of `unchanged_since`."""

    modseq: int
    modified: list[int] = []


class CopyMessages(msgspec.Struct, frozen=True, kw_only=True):
    uids: list[int]
    target_id: UUID
    move: bool = False


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """Parallel lists for COPYUID (RFC 4315 §3). Both empty if nothing matched."""

    uid_validity: int
    source_uids: list[int]
    target_uids: list[int]


class Expunge(msgspec.Struct, frozen=True, kw_only=True):
    """Remove messages that carry \\Deleted: all, or those among `uids`. `force` ignores the flag (POP3)."""

    uids: list[int] | None = None
    force: bool = False


class Expunged(msgspec.Struct, frozen=True, kw_only=True):
    modseq: int
    uids: list[int]


# --- message contents ----------------------------------------------------------------------------


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


# --- maildrop lock (RFC 1939 §8) -----------------------------------------------------------------


class MaildropLock(msgspec.Struct, frozen=True, kw_only=True):
    """Exclusive access for one POP3 session; `owner` is made by the session. Renew before `lease_s` runs out."""

    owner: UUID
    lease_s: int = 60


# --- outbound queue ------------------------------------------------------------------------------


class RelayJob(msgspec.Struct, frozen=True, kw_only=True):
    """Payload on `relay.<lane>`: deliveries of one transmission to one domain that are due together."""

    transmission_id: UUID
    domain: str
    delivery_ids: list[UUID]


class ClaimDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for the right to send. `lease` is made by the worker: it fences outcomes of earlier claims."""

    delivery_ids: list[UUID]
    lease: UUID
    lease_s: int


class ClaimedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    recipient: str
    attempts: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that are now the worker's; those that were done or are leased elsewhere are left out."""

    transmission_id: UUID
    reverse_path: str
    blob_id: UUID
    octets: int
    smtputf8: bool
    deliveries: list[ClaimedDelivery]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. `reply` is the remote's words or our reason; `remote` the host that spoke."""

    delivery_id: UUID
    result: Literal["delivered", "deferred", "failed"]
    reply: str
    remote: str = ""
    status: str = ""  # enhanced status code, "5.1.1" (RFC 3463)


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    lease: UUID
    outcomes: list[Outcome]
