"""Logging in: who it is, which mailbox is wanted, and opening it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from mail_proto.pop3.errors import LoginRefused, SyntaxFault
from mail_proto.sasl import SaslFault, decode_response, parse_plain
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Credentials
from pop3.maildrop import OpenedMaildrop, open_maildrop
from pop3.metrics import LOGINS
from pop3.shared import Shared

log = structlog.get_logger()

MAX_DELAY_S: Final = 16.0
MECHANISMS: Final = ("PLAIN",)


class Logins:
    """The attempts of one connection."""

    def __init__(self, shared: Shared, peer: str, on_lost: Callable[[], None]) -> None:
        self._shared, self._peer, self._on_lost = shared, peer, on_lost
        self._delay_s = shared.settings.login_failure_delay_s

    async def with_plain(self, response: bytes) -> tuple[OpenedMaildrop, int | None]:
        """A PLAIN message in Base64 (RFC 4616). Raises what `with_password` does; SyntaxFault."""
        try:
            authzid, name, password = parse_plain(decode_response(response))
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if authzid not in ("", name):
            raise LoginRefused("nobody may act for somebody else here")
        return await self.with_password(name, password)

    async def with_password(self, name: str, password: str) -> tuple[OpenedMaildrop, int | None]:
        """The maildrop, open, and the days that messages are kept in it.

        Raises LoginRefused, after a pause; InUse, LoginTooSoon, PermanentFailure; Unavailable.
        """
        store = self._shared.store
        login, mailbox = await store.maildrop_login(name) if "+" in name else (name, None)
        credentials = Credentials(username=login, password=password, protocol="pop3", peer=self._peer)
        try:
            principal = await store.authenticate(credentials)
        except AuthenticationFailed as error:
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=login, peer=self._peer)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise LoginRefused("wrong name or password") from error
        opened = await open_maildrop(self._shared, principal.account_id, mailbox, self._on_lost)
        LOGINS.labels("succeeded").inc()
        return opened
