"""Subjects and payloads on NATS (docs/architecture.md)."""

from __future__ import annotations

from typing import Final, Literal
from uuid import UUID

import msgspec

RELAY_STREAM: Final = "RELAY"
RELAY_SUBJECTS: Final = "relay.*"
RELAY_LANE: Final = "relay.normal"
RELAY_CONSUMER: Final = "smtp-out"

# Core, without payload: a domain, account or alias changed; forget where addresses lead.
DIRECTORY_CHANGED: Final = "directory.changed"

# Core, without payload: something may have changed that nobody was told of; trust no view without asking.
UNTOLD: Final = "mailboxes.untold"

# In place of a mailbox: annotations of the server.
NOBODY: Final = UUID(int=0)

# Core, without payload: every process answers with a `Present`.
PRESENCE: Final = "presence"


class Present(msgspec.Struct, frozen=True):
    """A process that is there; `since` is seconds since the epoch."""

    service: str
    host: str
    pid: int
    since: int


class MailboxChanged(msgspec.Struct, frozen=True):
    """On `mailbox.<account>.<mailbox>`: the mailbox is now at `modseq`; fetch what changed.

    With `entries` and modseq 0: these annotations of it were set or removed; of the server's where the mailbox is
    `NOBODY`. `reader_id`: the only account that may know, for what is below /private; None: all who use the mailbox.
    """

    modseq: int
    entries: tuple[str, ...] = ()
    reader_id: UUID | None = None


class AccountChanged(msgspec.Struct, frozen=True):
    """On `account.<account>`."""

    what: Literal["mailboxes", "password", "disabled", "deleted"]


def mailbox_subject(account_id: UUID, mailbox_id: UUID | str = "*") -> str:
    """Subject of one mailbox, or of all of an account."""
    return f"mailbox.{account_id}.{mailbox_id}"


def account_subject(account_id: UUID) -> str:
    return f"account.{account_id}"
