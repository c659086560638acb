"""LOGIN and AUTHENTICATE (RFC 3501 §6.2, RFC 4959), with growing delays after failures."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from imap.metrics import LOGINS
from imap.session import Session
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.sasl import AuthorizationFault, Denied, SaslFault
from mail_runtime.auth import Exchange
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Credentials, Principal

log = structlog.get_logger()

MAX_FAILURES: Final = 5
MAX_DELAY_S: Final = 16.0


class Logins:
    """The attempts of one connection."""

    def __init__(self, first_delay_s: float, peer: str) -> None:
        self._delay_s, self._peer = first_delay_s, peer
        self.failures = 0

    async def check(self, session: Session, username: str, password: str) -> Principal:
        """Raises Refused: wrong name or password. TooManyLogins, Unavailable."""
        credentials = Credentials(username=username, password=password, protocol="imap", peer=self._peer)
        try:
            principal = await session.store.authenticate(credentials)
        except AuthenticationFailed as error:
            raise await self._failed(username) from error
        LOGINS.labels("succeeded").inc()
        return principal

    async def respond(self, exchange: Exchange, octets: bytes | None) -> bytes | Principal:
        """One turn of a SASL exchange. Raises Refused, SyntaxFault, TooManyLogins, Unavailable."""
        try:
            answer = await exchange.respond(octets)
        except AuthorizationFault as fault:
            raise Refused(str(fault), "AUTHORIZATIONFAILED") from fault
        except (Denied, AuthenticationFailed) as error:
            raise await self._failed(exchange.username) from error
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if isinstance(answer, Principal):
            LOGINS.labels("succeeded").inc()
        return answer

    async def _failed(self, username: str) -> Refused:
        self.failures += 1
        LOGINS.labels("failed").inc()
        log.info("login_failed", username=username, peer=self._peer, failures=self.failures)
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
        return Refused("wrong name or password", "AUTHENTICATIONFAILED")
