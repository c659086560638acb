"""From a login to an open maildrop: what the store is asked, and what its refusals mean to a POP3 client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID, uuid4

from mail_proto.pop3.errors import InUse, LoginTooSoon, PermanentFailure
from mail_proto.pop3.maildrop import Maildrop
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict, NotFound, TooSoon
from pop3.locks import LEASE_S
from pop3.maildrop import OpenedMaildrop
from pop3.shared import Shared

INBOX: Final = "INBOX"


class Opening:
    """One attempt to open a maildrop for one session."""

    def __init__(self, shared: Shared, on_lost: Callable[[], None]) -> None:
        self._shared, self._on_lost = shared, on_lost
        self._owner = uuid4()
        self._is_exclusive = shared.settings.lock == "exclusive"

    def _wanted(self, mailbox: str | None) -> wire.OpenMaildrop:
        return wire.OpenMaildrop(
            mailbox=mailbox or INBOX,
            owner=self._owner,
            holder=self._shared.locks.holder,
            lease_s=LEASE_S,
            exclusive=self._is_exclusive,
            login_delay_s=self._shared.settings.login_delay_s,
        )

    async def with_password(self, credentials: wire.Credentials) -> tuple[wire.Principal, OpenedMaildrop]:
        """Check and open in one call; the username may name a mailbox (`user+folder`).

        Raises AuthenticationFailed, TooManyLogins; InUse, LoginTooSoon, PermanentFailure; Unavailable.
        """
        wanted = wire.LogInToMaildrop(credentials=credentials, opening=self._wanted(None))
        with _told_in_pop3():
            found = await self._shared.store.log_in_to_maildrop(wanted)
        return found.principal, self._opened(found.principal.account_id, found.maildrop)

    async def for_account(self, account_id: UUID, mailbox: str | None) -> OpenedMaildrop:
        """Open for somebody who is logged in. Raises InUse, LoginTooSoon, PermanentFailure; Unavailable."""
        with _told_in_pop3():
            found = await self._shared.store.open_maildrop(account_id, self._wanted(mailbox))
        return self._opened(account_id, found)

    def _opened(self, account_id: UUID, found: wire.Maildrop) -> OpenedMaildrop:
        if self._is_exclusive:
            self._shared.locks.hold(self._owner, self._on_lost)
        messages = Maildrop(found.uids, found.octets, found.blob_ids, found.email_ids)
        owner = self._owner if self._is_exclusive else None
        return OpenedMaildrop(self._shared, account_id, found.mailbox_id, owner, messages, found.retention_days)


@contextmanager
def _told_in_pop3() -> Iterator[None]:
    try:
        yield
    except Conflict as error:
        raise InUse("another session has this maildrop open") from error
    except TooSoon as error:
        raise LoginTooSoon(str(error)) from error
    except NotFound as error:
        raise PermanentFailure("there is no such mailbox") from error
