"""AUTH: from a command to a principal (RFC 4954), by whatever mechanism `mail_proto.sasl` offers."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Final

import structlog

from mail_proto.sasl import Denied, Offer, SaslFault, decode_response
from mail_proto.sasl import UnknownMechanism as NotOffered
from mail_proto.smtp.errors import ArgumentFault, SmtpFault
from mail_proto.smtp.replies import Reply
from mail_runtime.auth import Accounts, Exchange
from mail_runtime.contracts.errors import AuthenticationFailed, TooManyLogins, Unavailable
from mail_runtime.contracts.store import Principal
from smtp_in.metrics import LOGINS
from smtp_in.wire import Wire

log = structlog.get_logger()

# RFC 4954 §4: "12288 octets" for base64 lines during authentication.
MAX_RESPONSE_OCTETS: Final = 12288
MAX_FAILURES: Final = 5
MAX_DELAY_S: Final = 16.0


class UnknownMechanism(SmtpFault):
    """RFC 4954 §4."""

    code, status = 504, "5.5.4"


class MalformedResponse(SmtpFault):
    """Not base64, or not what the mechanism sends (RFC 4954 §4)."""

    code, status = 501, "5.5.2"


class LoginCancelled(SmtpFault):
    """The client sent `*` (RFC 4954 §4)."""

    code, status = 501, "5.7.0"


class LoginFailed(SmtpFault):
    """RFC 4954 §6."""

    code, status = 535, "5.7.8"


class LoginUnavailable(SmtpFault):
    """RFC 4954 §6: it isn't known yet whether it is right."""

    code, status = 454, "4.7.0"


class Login:
    """The attempts of one connection: each failure is answered later than the one before."""

    def __init__(self, accounts: Accounts, wire: Wire, peer: str, failure_delay_s: float) -> None:
        self._accounts, self._wire, self._peer = accounts, wire, peer
        self._delay_s = failure_delay_s
        self.failures = 0

    async def run(self, mechanism: str, initial: str | None, offer: Offer) -> Principal:
        """Exchange the challenges and check. Raises SmtpFault, ClientGone."""
        try:
            exchange = Exchange(self._accounts, offer, mechanism, protocol="smtp", peer=self._peer)
        except NotOffered as fault:
            raise UnknownMechanism(str(fault)) from fault
        try:
            answer = await exchange.respond(None if initial is None else _decode(initial.encode()))
            while isinstance(answer, bytes):
                answer = await exchange.respond(await self._response(answer))
        except (Denied, AuthenticationFailed) as error:
            raise await self._failed(exchange.username) from error
        except SaslFault as fault:
            raise MalformedResponse(str(fault)) from fault
        except (TooManyLogins, Unavailable) as error:
            raise LoginUnavailable(str(error)) from error
        LOGINS.labels("succeeded").inc()
        return answer

    async def _failed(self, username: str) -> LoginFailed:
        """Each one is answered later than the one before."""
        self.failures += 1
        LOGINS.labels("failed").inc()
        log.info("login_failed", username=username, peer=self._peer, failures=self.failures)
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
        return LoginFailed("wrong name or password")

    async def _response(self, challenge: bytes) -> bytes:
        self._wire.reply(Reply(334, "", b64encode(challenge).decode("ascii")))
        line = await self._wire.line(MAX_RESPONSE_OCTETS)
        if line == b"*":
            raise LoginCancelled("cancelled")
        return _decode(line)


def _decode(line: bytes) -> bytes:
    try:
        return decode_response(line)
    except SaslFault as fault:
        raise MalformedResponse(str(fault)) from fault


def split_auth(argument: str) -> tuple[str, str | None]:
    """Mechanism and initial response of `AUTH mechanism [initial-response]`. Raises ArgumentFault."""
    words = argument.split(" ")
    if not words[0] or len(words) > 2 or (len(words) == 2 and not words[1]):
        raise ArgumentFault("write AUTH, a mechanism, and perhaps an initial response")
    return words[0], words[1] if len(words) == 2 else None
