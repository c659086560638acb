"""AUTH PLAIN and LOGIN: from a command to a principal (RFC 4954, RFC 4616; LOGIN has no RFC)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Final, Protocol

import structlog

from mail_proto.sasl import SaslFault, decode_response, parse_plain
from mail_proto.smtp.errors import ArgumentFault, SmtpFault
from mail_proto.smtp.replies import Reply
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Credentials, Principal
from smtp_in.metrics import LOGINS
from smtp_in.wire import Wire

log = structlog.get_logger()

MECHANISMS: Final = ("PLAIN", "LOGIN")
# RFC 4954 §4: "12288 octets" for base64 lines during authentication.
MAX_RESPONSE_OCTETS: Final = 12288
MAX_FAILURES: Final = 5
MAX_DELAY_S: Final = 16.0


class Accounts(Protocol):
    """The part of the store client that is used here."""

    async def authenticate(self, credentials: Credentials) -> Principal: ...


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


class Login:
    """The attempts of one connection: each failure is answered later than the one before."""

    def __init__(self, accounts: Accounts, wire: Wire, peer: str, failure_delay_s: float) -> None:
        self._accounts, self._wire, self._peer = accounts, wire, peer
        self._delay_s = failure_delay_s
        self.failures = 0

    async def run(self, mechanism: str, initial: str | None) -> Principal:
        """Exchange the challenges and check. Raises SmtpFault, the store's errors, ClientGone."""
        match mechanism.upper():
            case "PLAIN":
                username, password = await self._plain(initial)
            case "LOGIN":
                username, password = await self._login(initial)
            case _:
                raise UnknownMechanism("use PLAIN or LOGIN")
        try:
            principal = await self._accounts.authenticate(
                Credentials(username=username, password=password, protocol="smtp", peer=self._peer)
            )
        except AuthenticationFailed as error:
            self.failures += 1
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=username, peer=self._peer, failures=self.failures)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise LoginFailed("wrong name or password") from error
        LOGINS.labels("succeeded").inc()
        return principal

    async def _plain(self, initial: str | None) -> tuple[str, str]:
        message = await self._response(b"") if initial is None else _decode(initial.encode())
        try:
            authzid, username, password = parse_plain(message)
        except SaslFault as fault:
            raise MalformedResponse("malformed PLAIN message") from fault
        if authzid not in ("", username):
            raise LoginFailed("nobody may act for somebody else here")
        return username, password

    async def _login(self, initial: str | None) -> tuple[str, str]:
        username = await self._response(b"Username:") if initial is None else _decode(initial.encode())
        password = await self._response(b"Password:")
        try:
            return username.decode(), password.decode()
        except UnicodeDecodeError as error:
            raise MalformedResponse("names and passwords are UTF-8") from error

    async def _response(self, challenge: bytes) -> bytes:
        self._wire.reply(Reply(334, "", b64encode(challenge).decode("ascii")))
        line = await self._wire.line(MAX_RESPONSE_OCTETS)
        if line == b"*":
            raise LoginCancelled("cancelled")
        return _decode(line)


def _decode(line: bytes) -> bytes:
    if line == b"=":  # RFC 4954 §4: an initial response of no octets
        return b""
    try:
        return decode_response(line)
    except SaslFault as fault:
        raise MalformedResponse("not base64") from fault


def split_auth(argument: str) -> tuple[str, str | None]:
    """Mechanism and initial response of `AUTH mechanism [initial-response]`. Raises ArgumentFault."""
    words = argument.split(" ")
    if not words[0] or len(words) > 2 or (len(words) == 2 and not words[1]):
        raise ArgumentFault("write AUTH, a mechanism, and perhaps an initial response")
    return words[0], words[1] if len(words) == 2 else None
