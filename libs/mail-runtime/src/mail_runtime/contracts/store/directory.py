"""Accounts, logins, and where addresses lead."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

Protocol = Literal["smtp", "imap", "pop3", "api"]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A password to check. `peer` is the client's IP address."""

    username: str
    password: str
    protocol: Protocol
    peer: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who logged in. `addresses` are those it may use as reverse path (lower case domain).

    `sets_quotas`: of its domain's accounts (RFC 9208 §4.1.3).
    """

    account_id: UUID
    address: str
    addresses: list[str]
    domain_id: UUID | None = None
    sets_quotas: bool = False


RecipientStatus = Literal["local", "remote", "unknown", "over_quota", "disabled", "not_permitted", "loop", "too_many"]


class ScramStart(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody begins SCRAM-SHA-256 (RFC 5802)."""

    username: str


class ScramChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """One salt and iteration count for all passwords of the account."""

    salt: bytes
    iterations: int


class ScramFinish(msgspec.Struct, frozen=True, kw_only=True):
    """A proof to check against the verifiers, which never leave the store."""

    username: str
    auth_message: bytes
    proof: bytes
    protocol: Protocol
    peer: str

    def __repr__(self) -> str:
        return f"ScramFinish({self.username!r}, …)"


class ScramFinished(msgspec.Struct, frozen=True):
    """The proof was right; the signature proves to the client that the server knows the password too."""

    principal: Principal
    signature: bytes


class BearerToken(msgspec.Struct, frozen=True, kw_only=True):
    """An access token (RFC 7628); `username` is empty where the client leaves it to the token."""

    username: str
    token: str
    protocol: Protocol
    peer: str

    def __repr__(self) -> str:
        return f"BearerToken({self.username!r}, …)"


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
