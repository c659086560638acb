"""Octets of one SMTP connection: command lines and mail data in, replies out.

Replies are collected and sent before the next wait for the client: a group of pipelined commands gets its
replies in one packet (RFC 2920 §3.2).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from mail_proto.smtp.data import DataDecoder, DataState
from mail_proto.smtp.errors import MessageTooLarge, NoRoomNow, SyntaxFault
from mail_proto.smtp.replies import Reply
from mail_runtime.starttls import upgrade

READ_OCTETS: Final = 65536
# RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for the next command.
COMMAND_TIMEOUT_S: Final = 300.0
# RFC 5321 §4.5.3.2.5: the sender's own time-out for a data block is 3 minutes.
DATA_BLOCK_TIMEOUT_S: Final = 180.0
# A message of 50 MB at 256 kbit/s takes 27 minutes.
DATA_TIMEOUT_S: Final = 3600.0
WRITE_TIMEOUT_S: Final = 60.0


class ClientGone(Exception):
    """The connection ended before what was expected came."""


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


class Wire:
    """Reads and writes for one connection; one task at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._input = bytearray()
        self._output = bytearray()
        self.waits_for_command = False

    @property
    def tls(self) -> ssl.SSLObject | None:
        """Of the connection as it is now."""
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    def reply(self, reply: Reply) -> None:
        """Queue a reply; it leaves with the next `flush`, `line` or `message` that must wait."""
        self._output += reply.render()

    async def flush(self) -> None:
        """Raises ConnectionError, TimeoutError."""
        if self._output:
            self._writer.write(bytes(self._output))
            self._output.clear()
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._writer.drain()

    async def _read(self) -> bytes:
        octets = await self._reader.read(READ_OCTETS)
        if not octets:
            raise ClientGone
        return octets

    async def line(self, max_octets: int) -> bytes:
        """The next line without its end.

        A bare LF ends a line too: people with netcat. After DATA's 354 only CRLF counts (`message`).
        Raises SyntaxFault: longer than `max_octets`; it was skipped. ClientGone, TimeoutError.
        """
        scanned, is_too_long = 0, False
        while (end := self._input.find(b"\n", scanned)) < 0:
            if len(self._input) > max_octets:
                is_too_long = True
                self._input.clear()
            scanned = len(self._input)
            await self.flush()
            self.waits_for_command = True
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    self._input += await self._read()
            finally:
                self.waits_for_command = False
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        if is_too_long or len(line) > max_octets:
            raise SyntaxFault("line too long")
        return line[:-1] if line.endswith(b"\r") else line

    @asynccontextmanager
    async def message(self, max_octets: int, budget: MemoryBudget) -> AsyncIterator[bytes]:
        """Read mail data up to its end; its octets count against `budget` while the block runs.

        Raises MessageTooLarge, NoRoomNow: after the end, the connection is usable. ClientGone, TimeoutError:
        nothing of it counts.
        """
        decoder = DataDecoder(max_octets)
        taken, lacked_room = 0, False
        await self.flush()
        octets = bytes(self._input)
        self._input.clear()
        try:
            async with asyncio.timeout(DATA_TIMEOUT_S):
                while True:
                    decoder.feed(octets)
                    if budget.take(decoder.held_octets - taken):
                        taken = decoder.held_octets
                    else:
                        lacked_room = True
                        decoder.drop()
                    if decoder.state is DataState.COMPLETE:
                        break
                    async with asyncio.timeout(DATA_BLOCK_TIMEOUT_S):
                        octets = await self._read()
            self._input += decoder.rest
            if lacked_room:
                raise NoRoomNow("too much mail at the moment; try again later")
            if decoder.was_dropped:
                raise MessageTooLarge(f"messages may have {max_octets} octets")
            message = decoder.message()
            del decoder
            yield message
        finally:
            budget.give_back(taken)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Raises OSError, TimeoutError: the handshake failed."""
        await self.flush()
        self._input.clear()
        await upgrade(self._reader, self._writer, context)

    async def close(self) -> None:
        """Send what is queued, if it can be sent, and close."""
        try:
            await self.flush()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
        self._writer.close()
