"""AUTH: from a command to a principal (RFC 4954), by whatever mechanism `mail_proto.sasl` offers."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Final

import structlog

from mail_proto.sasl import Denied, Offer, SaslFault
from mail_proto.sasl import UnknownMechanism as NotOffered
from mail_proto.smtp.errors import SmtpFault
from mail_runtime.auth import Accounts, Exchange
from mail_runtime.contracts.errors import AuthenticationFailed, TooManyLogins, Unavailable
from mail_runtime.contracts.store import Principal
from smtp_in.metrics import LOGINS

log = structlog.get_logger()

MAX_FAILURES: Final = 5
MAX_DELAY_S: Final = 16.0


class UnknownMechanism(SmtpFault):
    """RFC 4954 §4."""

    code, status = 504, "5.5.4"


class MalformedResponse(SmtpFault):
    """Not what the mechanism sends (RFC 4954 §4)."""

    code, status = 501, "5.5.2"


class LoginFailed(SmtpFault):
    """RFC 4954 §6."""

    code, status = 535, "5.7.8"


class TooManyFailures(SmtpFault):
    """Passwords are being guessed."""

    code, status = 421, "4.7.0"


class LoginUnavailable(SmtpFault):
    """RFC 4954 §6: it isn't known yet whether it is right."""

    code, status = 454, "4.7.0"


class Login:
    """The attempts of one connection: each failure is answered later than the one before."""

    def __init__(self, accounts: Accounts, failure_delay_s: float) -> None:
        self._accounts, self._delay_s = accounts, failure_delay_s
        self._exchange: Exchange | None = None
        self._peer = ""
        self.failures = 0

    async def begin(self, mechanism: str, initial: bytes | None, offer: Offer, peer: str) -> str | Principal:
        """The first challenge in Base64, or who has logged in. Raises SmtpFault."""
        try:
            self._exchange = Exchange(self._accounts, offer, mechanism, protocol="smtp", peer=peer)
        except NotOffered as fault:
            raise UnknownMechanism(str(fault)) from fault
        self._peer = peer
        return await self.respond(initial)

    async def respond(self, octets: bytes | None) -> str | Principal:
        """The next challenge in Base64, or who has logged in. Raises SmtpFault: the exchange is over."""
        exchange = self._exchange
        assert exchange is not None, "begin comes first"
        try:
            answer = await exchange.respond(octets)
        except (Denied, AuthenticationFailed) as error:
            raise await self._failed(exchange.username) from error
        except SaslFault as fault:
            raise MalformedResponse(str(fault)) from fault
        except (TooManyLogins, Unavailable) as error:
            raise LoginUnavailable(str(error)) from error
        if isinstance(answer, bytes):
            return b64encode(answer).decode("ascii")
        LOGINS.labels("succeeded").inc()
        return answer

    async def _failed(self, username: str) -> SmtpFault:
        self.failures += 1
        LOGINS.labels("failed").inc()
        log.info("login_failed", username=username, peer=self._peer, failures=self.failures)
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
        if self.failures >= MAX_FAILURES:
            return TooManyFailures("too many failed logins")
        return LoginFailed("wrong name or password")
