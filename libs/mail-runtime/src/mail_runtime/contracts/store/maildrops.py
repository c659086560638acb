"""Maildrops: a mailbox as a POP3 session has it."""

from __future__ import annotations

from uuid import UUID

import msgspec

from mail_runtime.contracts.store.directory import Credentials, Principal


class OpenMaildrop(msgspec.Struct, frozen=True, kw_only=True):
    """Lock the account's maildrop and list the messages of `mailbox`.

    `owner` is made by the session, `holder` by its process: whoever holds the lock renews it with KeepMaildrops before
    `lease_s` runs out. Without `exclusive` nothing is locked. `login_delay_s`: least time since the last time.
    """

    mailbox: str = "INBOX"
    owner: UUID
    holder: UUID
    lease_s: float
    exclusive: bool = True
    login_delay_s: int = 0


class Maildrop(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: parallel columns, ascending by uid. `retention_days` None: messages are kept for ever."""

    mailbox_id: UUID
    uids: list[int]
    octets: list[int]
    blob_ids: list[UUID]
    email_ids: list[UUID]
    retention_days: int | None = None


class LogInToMaildrop(msgspec.Struct, frozen=True, kw_only=True):
    """Check a password and open the maildrop, in one call. A mailbox in the username wins over `opening.mailbox`."""

    credentials: Credentials
    opening: OpenMaildrop


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    principal: Principal
    maildrop: Maildrop


class KeepMaildrops(msgspec.Struct, frozen=True, kw_only=True):
    """Renew the locks that a process holds."""

    holder: UUID
    owners: list[UUID]
    lease_s: float


class CloseMaildrop(msgspec.Struct, frozen=True, kw_only=True):
    """End a session: set \\\\Seen, remove messages, give the lock back; all of it or nothing.

    `owner` None: the maildrop was not locked.
    """

    mailbox_id: UUID
    owner: UUID | None
    seen: list[int] = []
    remove: list[int] = []


class Retrieve(msgspec.Struct, frozen=True, kw_only=True):
    """Whole messages of a mailbox, by uid."""

    mailbox_id: UUID
    uids: list[int]


class RetrievePiece(msgspec.Struct, frozen=True, kw_only=True):
    """The octets [start, end) of one message. From its beginning it must be in the mailbox.

    Once begun it can be read to the end, if it is removed meanwhile too.
    """

    mailbox_id: UUID
    uid: int
    blob_id: UUID
    start: int
    end: int
