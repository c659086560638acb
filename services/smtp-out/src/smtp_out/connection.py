"""One SMTP connection to a remote host: the octets of a `ClientSession` on a socket (RFC 5321 §4.5.3.2)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from types import TracebackType
from typing import Final, Self

from mail_proto.smtp.client import (
    BLOCK_TIMEOUT_S,
    GREETING_TIMEOUT_S,
    Action,
    ClientSession,
    Close,
    Send,
    SendMessage,
    StartTls,
)
from mail_proto.smtp.client_replies import Reply, ReplyFault, ReplyReader

CONNECT_TIMEOUT_S: Final = 30.0
HANDSHAKE_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0
BLOCK_OCTETS: Final = 65_536


class TlsFailed(Exception):
    """The server offered TLS that doesn't work: worth another connection without it."""


class NotConnected(Exception):
    """No TCP connection to this address."""


def _opportunistic_tls() -> ssl.SSLContext:
    """Encryption without authentication: what MX hosts present can't be checked (RFC 7435, RFC 3207 §4.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """Use as `async with await Connection.open(address, port)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._replies = ReplyReader()
        self._ready: deque[Reply] = deque()

    @classmethod
    async def open(cls, address: str, port: int) -> Self:
        """Raises NotConnected."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return cls(*await asyncio.open_connection(address, port))
        except TimeoutError as error:
            raise NotConnected("connection timed out") from error
        except OSError as error:
            raise NotConnected(error.strerror or "connection failed") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()

    async def transmit(self, session: ClientSession, message: bytes) -> None:
        """Run the dialogue to its end; `message` is dot-stuffed. Raises TlsFailed; other losses go to `session`."""
        try:
            action: Action = session.receive(await self._reply(GREETING_TIMEOUT_S))
            while not isinstance(action, Close):
                action = await self._do(action, session, message)
        except TimeoutError:
            session.lost(f"timed out in state {session.state.name}")
        except ReplyFault as fault:
            session.lost(str(fault), "4.5.0")
        except (OSError, EOFError) as error:
            session.lost(f"connection lost in state {session.state.name}: {error}")

    async def _do(self, action: Action, session: ClientSession, message: bytes) -> Action:
        match action:
            case Send(octets, timeout_s):
                if octets:
                    await self._write(octets)
                return session.receive(await self._reply(timeout_s))
            case SendMessage(timeout_s):
                for start in range(0, len(message), BLOCK_OCTETS):
                    await self._write(message[start : start + BLOCK_OCTETS])
                return session.receive(await self._reply(timeout_s))
            case StartTls():
                await self._start_tls()
                return session.secured()
            case Close():
                return action

    async def _write(self, octets: bytes) -> None:
        async with asyncio.timeout(BLOCK_TIMEOUT_S):
            self._writer.write(octets)
            await self._writer.drain()

    async def _reply(self, timeout_s: float) -> Reply:
        async with asyncio.timeout(timeout_s):
            while not self._ready:
                octets = await self._reader.read(BLOCK_OCTETS)
                if not octets:
                    raise EOFError("closed by the remote server")
                self._ready.extend(self._replies.feed(octets))
        return self._ready.popleft()

    async def _start_tls(self) -> None:
        if self._ready or not self._replies.empty:
            # Octets before the handshake could be a third party's (RFC 3207 §6).
            raise TlsFailed("the server spoke before the handshake")
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await self._writer.start_tls(_opportunistic_tls())
        except (OSError, TimeoutError, EOFError) as error:
            raise TlsFailed(str(error)) from error
        self._replies = ReplyReader()
