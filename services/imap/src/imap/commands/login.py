"""LOGIN and AUTHENTICATE PLAIN (RFC 3501 §6.2, RFC 4616), with growing delays after failures."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from imap.metrics import LOGINS
from imap.session import Session
from mail_proto.imap.errors import Refused
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
        """Raises Refused: wrong name or password. Unavailable."""
        credentials = Credentials(username=username, password=password, protocol="imap", peer=self._peer)
        try:
            principal = await session.store.authenticate(credentials)
        except AuthenticationFailed as error:
            self.failures += 1
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=username, peer=self._peer, failures=self.failures)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise Refused("wrong name or password", "AUTHENTICATIONFAILED") from error
        LOGINS.labels("succeeded").inc()
        return principal
