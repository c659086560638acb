"""LOGIN and AUTHENTICATE (RFC 3501 §6.2, RFC 4959), with growing delays after failures."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from imap.metrics import LOGINS
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.sasl import AuthorizationFault, Denied, Offer, SaslFault, UnknownMechanism, decode_response
from mail_runtime.auth import Exchange
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Credentials, Principal
from mail_runtime.store_client import StoreClient

log = structlog.get_logger()

MAX_DELAY_S: Final = 16.0


class Logins:
    """The attempts of one connection. All methods raise AuthenticationFailed, ImapFault, TooManyLogins, Unavailable."""

    def __init__(self, store: StoreClient, first_delay_s: float, peer: str) -> None:
        self._store, self._delay_s, self._peer = store, first_delay_s, peer
        self._exchange: Exchange | None = None

    async def with_password(self, username: str, password: str) -> Principal:
        credentials = Credentials(username=username, password=password, protocol="imap", peer=self._peer)
        try:
            principal = await self._store.authenticate(credentials)
        except AuthenticationFailed as error:
            raise await self._failed(username) from error
        LOGINS.labels("succeeded").inc()
        return principal

    async def begin(self, mechanism: str, initial: bytes | None, offered: Offer) -> bytes | Principal:
        """The first turn of a SASL exchange: a challenge, or who the client is. `initial` is Base64."""
        try:
            self._exchange = Exchange(self._store, offered, mechanism, protocol="imap", peer=self._peer)
        except UnknownMechanism as fault:
            raise Refused(str(fault), "CANNOT") from fault
        return await self._turn(None if initial is None else _decoded(initial))

    async def respond(self, line: bytes) -> bytes | Principal:
        """The next turn, with the Base64 that answers the challenge."""
        return await self._turn(_decoded(line))

    async def _turn(self, octets: bytes | None) -> bytes | Principal:
        assert self._exchange is not None, "after begin"
        try:
            answer = await self._exchange.respond(octets)
        except AuthorizationFault as fault:
            raise Refused(str(fault), "AUTHORIZATIONFAILED") from fault
        except (Denied, AuthenticationFailed) as error:
            raise await self._failed(self._exchange.username) from error
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if isinstance(answer, Principal):
            LOGINS.labels("succeeded").inc()
        return answer

    async def _failed(self, username: str) -> AuthenticationFailed:
        LOGINS.labels("failed").inc()
        log.info("login_failed", username=username, peer=self._peer)
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
        return AuthenticationFailed("wrong name or password")


def _decoded(line: bytes) -> bytes:
    try:
        return decode_response(line)
    except SaslFault as fault:
        raise SyntaxFault(str(fault)) from fault
