"""Accounts, logins, and where addresses lead."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

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


RecipientStatus = Literal["local", "remote", "unknown", "over_quota", "disabled", "not_permitted", "loop", "too_many"]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of mail for a recipient address. `local`: taken here, wherever it goes then.

    `for_sender`: the answer holds for this sender only, or changes at any moment; it isn't to be remembered.
    """

    address: str
    status: RecipientStatus
    for_sender: bool = False


class MaildropLock(msgspec.Struct, frozen=True, kw_only=True):
    """Exclusive access for one POP3 session; `owner` is made by the session. Renew before `lease_s` runs out."""

    owner: UUID
    lease_s: int = 60
