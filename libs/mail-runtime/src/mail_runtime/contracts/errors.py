"""Errors that cross the wire between a frontend and the store."""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything a call to the store can raise. `str(error)` is safe to show to a client."""


class Unavailable(StoreError):
    """The store, or what it depends on, can't answer now: reply 451 / NO [UNAVAILABLE] / -ERR [SYS/TEMP]."""


class AuthenticationFailed(StoreError):
    """Wrong name or password (one error for both, on purpose)."""


class TooManyLogins(StoreError):
    """Too many failures; nothing was checked. Temporary: 454 4.7.0 / NO [UNAVAILABLE] / -ERR [SYS/TEMP]."""

    def __init__(self, text: str, retry_after_s: float = 60.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class NotPermitted(StoreError):
    """The mailbox is another's, and the account lacks the right: NO [NOPERM] (RFC 4314 §4, RFC 5530 §3)."""


class NotFound(StoreError):
    """The mailbox, message or account isn't there (any more)."""


class Conflict(StoreError):
    """It exists already, or somebody else holds it (mailbox name, maildrop lock, claimed delivery)."""


class TooSoon(StoreError):
    """The account logged in too short a while ago."""


class Refused(StoreError):
    """The store's rules forbid it for good (bad name, INBOX can't be deleted, unknown recipient)."""


class TooLarge(StoreError):
    """The message is larger than the store accepts."""


class OverQuota(StoreError):
    """There is no room left for it: 452 or 552 / NO [OVERQUOTA] (RFC 9208 §4.3)."""


# HTTP status on the internal interface ↔ error; anything else is Unavailable.
STATUS_OF: dict[type[StoreError], int] = {
    AuthenticationFailed: 401,
    NotPermitted: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Refused: 422,
    TooSoon: 425,
    TooManyLogins: 429,
    Unavailable: 503,
    OverQuota: 507,
}
ERROR_OF: dict[int, type[StoreError]] = {status: error for error, status in STATUS_OF.items()}
