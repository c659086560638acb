"""The store's logins as a SASL exchange asks for them, with the mailbox taken out of names like `user+folder`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from mail_runtime.contracts import store as wire
from pop3.maildrop import OpenedMaildrop
from pop3.opening import Opening
from pop3.shared import Shared


class MaildropAccounts:
    """For one exchange: `mail_runtime.auth.Accounts`, and the maildrop that the login is for."""

    def __init__(self, shared: Shared, on_lost: Callable[[], None]) -> None:
        self._store = shared.store
        self._opening = Opening(shared, on_lost)
        self._mailbox: str | None = None
        self._opened: OpenedMaildrop | None = None

    async def maildrop(self, principal: wire.Principal) -> OpenedMaildrop:
        """Open it, unless that came with the login. Raises InUse, LoginTooSoon, PermanentFailure; Unavailable."""
        if self._opened is None:
            self._opened = await self._opening.for_account(principal.account_id, self._mailbox)
        return self._opened

    async def authenticate(self, credentials: wire.Credentials) -> wire.Principal:
        """A password is checked and the maildrop opened in one call."""
        principal, self._opened = await self._opening.with_password(credentials)
        return principal

    async def scram_start(self, start: wire.ScramStart) -> wire.ScramChallenge:
        return await self._store.scram_start(replace(start, username=await self._login(start.username)))

    async def scram_finish(self, finish: wire.ScramFinish) -> wire.ScramFinished:
        return await self._store.scram_finish(replace(finish, username=await self._login(finish.username)))

    async def authenticate_token(self, token: wire.BearerToken) -> wire.Principal:
        return await self._store.authenticate_token(replace(token, username=await self._login(token.username)))

    async def _login(self, name: str) -> str:
        if "+" not in name:
            return name
        login, self._mailbox = await self._store.maildrop_login(name)
        return login
