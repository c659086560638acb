"""Logging in by USER and PASS (RFC 1939 §7) or SASL (RFC 5034): each failure is answered later than the one before."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from mail_proto.pop3.errors import LoginRefused, SyntaxFault
from mail_proto.sasl import Denied, Offer, SaslFault, decode_response
from mail_runtime.auth import Exchange, offer
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Credentials
from pop3.accounts import MaildropAccounts
from pop3.maildrop import OpenedMaildrop
from pop3.metrics import LOGINS
from pop3.opening import Opening
from pop3.shared import Shared

log = structlog.get_logger()

T = TypeVar("T")

MAX_DELAY_S: Final = 16.0


class Logins:
    """The attempts of one connection."""

    def __init__(self, shared: Shared, peer: str, on_lost: Callable[[], None]) -> None:
        self._shared, self._peer, self._on_lost = shared, peer, on_lost
        self._delay_s = shared.settings.login_failure_delay_s
        self._accounts: MaildropAccounts | None = None
        self._exchange: Exchange | None = None

    def offer(self, tls: ssl.SSLObject | None) -> Offer:
        """The mechanisms of a connection on which passwords may cross."""
        return offer(tls, self._shared.settings.oauth_issuers)

    async def with_password(self, name: str, password: str) -> OpenedMaildrop:
        """Raises LoginRefused, after a pause; InUse, LoginTooSoon, PermanentFailure; TooManyLogins, Unavailable."""
        credentials = Credentials(username=name, password=password, protocol="pop3", peer=self._peer)
        opening = Opening(self._shared, self._on_lost)
        _, opened = await self._judged(opening.with_password(credentials), lambda: name)
        LOGINS.labels("succeeded").inc()
        return opened

    async def begin(self, mechanism: str, initial: bytes | None, offered: Offer) -> bytes | OpenedMaildrop:
        """The first challenge in Base64, or the maildrop. Raises what `with_password` does; SyntaxFault."""
        self._accounts = MaildropAccounts(self._shared, self._on_lost)
        try:
            self._exchange = Exchange(self._accounts, offered, mechanism, protocol="pop3", peer=self._peer)
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        return await self.respond(initial)

    async def respond(self, line: bytes | None) -> bytes | OpenedMaildrop:
        """Go on with the response in this line, which is Base64 (RFC 5034 §4). Raises what `begin` does."""
        exchange, accounts = self._exchange, self._accounts
        assert exchange is not None, "begun by `begin`"
        assert accounts is not None, "begun by `begin`"
        try:
            octets = None if line is None else decode_response(line)
            answer = await self._judged(exchange.respond(octets), lambda: exchange.username)
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if isinstance(answer, bytes):
            return b64encode(answer)
        opened = await accounts.maildrop(answer)
        LOGINS.labels("succeeded").inc()
        return opened

    async def _judged(self, attempt: Awaitable[T], name: Callable[[], str]) -> T:
        """Raises LoginRefused for whatever amounts to a wrong password."""
        try:
            return await attempt
        except (Denied, AuthenticationFailed) as error:
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=name(), peer=self._peer)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise LoginRefused("wrong name or password") from error
