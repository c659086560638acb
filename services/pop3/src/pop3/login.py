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
from pop3.maildrop import OpenedMaildrop
from pop3.metrics import LOGINS
from pop3.opening import Opening
from pop3.shared import Shared

log = structlog.get_logger()

MAX_DELAY_S: Final = 16.0
MECHANISMS: Final = ("PLAIN",)


class Logins:
    """The attempts of one connection."""

    def __init__(self, shared: Shared, peer: str, on_lost: Callable[[], None]) -> None:
        self._shared, self._peer, self._on_lost = shared, peer, on_lost
        self._delay_s = shared.settings.login_failure_delay_s

    async def with_plain(self, response: bytes) -> OpenedMaildrop:
        """A PLAIN message in Base64 (RFC 4616). Raises what `with_password` does; SyntaxFault."""
        try:
            authzid, name, password = parse_plain(decode_response(response))
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if authzid not in ("", name):
            raise LoginRefused("nobody may act for somebody else here")
        return await self.with_password(name, password)

    async def with_password(self, name: str, password: str) -> OpenedMaildrop:
        """Raises LoginRefused, after a pause; InUse, LoginTooSoon, PermanentFailure; Unavailable."""
        credentials = Credentials(username=name, password=password, protocol="pop3", peer=self._peer)
        try:
            _, opened = await Opening(self._shared, self._on_lost).with_password(credentials)
        except AuthenticationFailed as error:
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=name, peer=self._peer)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise LoginRefused("wrong name or password") from error
        LOGINS.labels("succeeded").inc()
        return opened
