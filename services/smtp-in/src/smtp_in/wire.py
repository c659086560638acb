"""Octets of one SMTP connection in and out, each under a time-out."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from mail_runtime.starttls import upgrade

READ_OCTETS: Final = 65536
WRITE_TIMEOUT_S: Final = 60.0


class ClientGone(Exception):
    """The connection ended before what was expected came."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a client may take. `message_s`: for the whole of a message."""

    command_s: float
    data_s: float
    message_s: float


class MemoryBudget:
    """Octets of mail data that all connections together may hold."""

    def __init__(self, max_octets: int) -> None:
        self._left = max_octets

    def take(self, octets: int) -> bool:
        if octets > self._left:
            return False
        self._left -= octets
        return True

    def give_back(self, octets: int) -> None:
        self._left += octets


class Share:
    """What one connection has of the budget."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self._taken = budget, 0

    def hold(self, octets: int) -> bool:
        """Make the share that large; False: there is no room, and it stays as it was."""
        more = octets - self._taken
        if more > 0 and not self._budget.take(more):
            return False
        if more < 0:
            self._budget.give_back(-more)
        self._taken = octets
        return True


class Wire:
    """Reads and writes for one connection; one task at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_waiting = False

    @property
    def tls(self) -> ssl.SSLObject | None:
        """Of the connection as it is now."""
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    async def write(self, octets: bytearray) -> None:
        """Send it, and empty it. Raises ConnectionError, TimeoutError."""
        if octets:
            self._writer.write(bytes(octets))
            octets.clear()
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._writer.drain()

    async def read(self, until: float) -> bytes:
        """What comes next; `until` by the loop's clock. Raises ClientGone, ConnectionError, TimeoutError."""
        self.is_waiting = True
        try:
            async with asyncio.timeout_at(until):
                octets = await self._reader.read(READ_OCTETS)
        finally:
            self.is_waiting = False
        if not octets:
            raise ClientGone
        return octets

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Raises OSError, TimeoutError: the handshake failed."""
        await upgrade(self._reader, self._writer, context)

    async def close(self, last: bytearray) -> None:
        """Send the last words, if they can be sent, and close."""
        try:
            await self.write(last)
        except (OSError, TimeoutError):
            self._writer.transport.abort()
        self._writer.close()
